"""Calls any provider that LiteLLM knows. LiteLLM is a library here: no retries, no cache, no callbacks of its own."""

import asyncio
import importlib
import logging
import os
import threading
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from activities.providers import setup
from activities.providers.errors import explained, garbled, not_set_up, timed_out
from activities.providers.routes import RouteConfig
from domain.completions import CompletionInput, Message, ResponseFormat
from domain.prompt import estimate_tokens
from storage.texts import storable

_log = logging.getLogger(__name__)
_QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or importing waits for the network
    "LITELLM_MODE": "PRODUCTION",  # or it reads .env by itself
}
LONGEST = 400_000
"""Characters of an answer: more than any `maxTokens` allows, and little enough for a workflow's payload."""
MOST_TOKENS = 10_000_000
"""A count above this is a provider's mistake, not a use: it is estimated, as if there were none."""
_FINISHED = {"stop", "length", "content_filter", "tool_calls"}


@dataclass(frozen=True)
class Reply:
    """What came back. `cost` is in US dollars."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cost: float


class LiteLLMProvider:
    """One for all routes; the library is imported with the first call, or earlier in the background."""

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._library: Any = None
        self._unpriced: set[str] = set()

    def warm(self) -> threading.Thread:
        """Import the library in a thread, which takes some seconds, and return it at once."""
        thread = threading.Thread(target=self._load, name="load-litellm", daemon=True)
        thread.start()
        return thread

    def faults(self, routes: Iterable[RouteConfig]) -> dict[str, str]:
        """What is wrong with the set-up of routes, by their names. Imports the library: not for an event loop."""
        library = self._load()
        return {route.name: why for route in routes if (why := setup.fault(library, route)) is not None}

    async def complete(self, route: RouteConfig, messages: Sequence[Message], asked: CompletionInput) -> Reply:
        """One attempt on one route.

        Raises:
            CohortError: `provider_unavailable` where another attempt or another route may answer (`retryable` tells
                whether the same route may), `invalid_argument` where none will.
        """
        library = self._library or await asyncio.to_thread(self._load)
        if setup.lacks_its_key(route):
            _log.warning("route %s failed: %s", route.name, setup.fault(library, route))
            raise not_set_up()
        try:
            async with asyncio.timeout(route.timeout):
                response = await library.acompletion(**_request(route, messages, asked))
        except TimeoutError:
            _log.warning("route %s failed: no answer within %.0f s", route.name, route.timeout)
            raise timed_out() from None
        except (library.exceptions.openai.OpenAIError, OSError, ValueError, LookupError, TypeError) as error:
            failure = explained(library.exceptions, error, route.name, setup.fault(library, route))
            status = getattr(error, "status_code", None)
            _log.warning(
                "route %s failed: %s (%s, status %s)", route.name, failure.reason, type(error).__name__, status
            )
            raise failure.error from None
        return self._read(library, response, route, messages)

    def _load(self) -> Any:
        with self._loading:
            if self._library is None:
                for name, value in _QUIET.items():
                    os.environ.setdefault(name, value)
                setup.forget_empty_keys()
                # Where a provider's answer has wrong types, pydantic would print pieces of it to the log.
                warnings.filterwarnings("ignore", message="Pydantic serializer warnings", category=UserWarning)
                library: Any = importlib.import_module("litellm")
                library.ModelResponse()  # builds its models now, while no call waits for it
                library.suppress_debug_info = True
                library.cache = None
                logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
                self._library = library
        return self._library

    def _read(self, library: Any, response: Any, route: RouteConfig, messages: Sequence[Message]) -> Reply:
        """The reply, or the error that an answer without an answer in it stands for."""
        try:
            choice = response.choices[0]
            text, finish = choice.message.content, choice.finish_reason
        except (AttributeError, LookupError, TypeError):
            raise garbled() from None
        if not isinstance(text, str) or len(text) > LONGEST or (not text.strip() and finish != "content_filter"):
            raise garbled()
        # An answer that `max_tokens` cut in the middle of an emoji ends in half a character, which no payload can hold:
        # what was paid for would be lost, and asked for again.
        text = storable(text)
        usage = getattr(response, "usage", None)
        prompt = _count(getattr(usage, "prompt_tokens", None)) or estimate_tokens(*(one.content for one in messages))
        completion = _count(getattr(usage, "completion_tokens", None)) or estimate_tokens(text)
        return Reply(
            text=text,
            finish_reason=finish if isinstance(finish, str) and finish in _FINISHED else "stop",
            prompt_tokens=prompt,
            completion_tokens=completion,
            cost=0.0 if route.free else self._cost(library, route, prompt, completion),
        )

    def _cost(self, library: Any, route: RouteConfig, prompt: int, completion: int) -> float:
        """US dollars by LiteLLM's price list; 0 where the list does not know the model, which the log says once."""
        try:
            inward, outward = library.cost_per_token(
                model=route.model, prompt_tokens=prompt, completion_tokens=completion
            )
        except (library.exceptions.openai.OpenAIError, library.exceptions.ModelNotMappedError, ValueError, LookupError):
            if route.name not in self._unpriced:
                self._unpriced.add(route.name)
                _log.warning("no price is known for the model of route %s: its calls are booked at 0", route.name)
            return 0.0
        return float(inward) + float(outward)


def _request(route: RouteConfig, messages: Sequence[Message], asked: CompletionInput) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": route.model,
        "messages": [message.model_dump() for message in messages],
        "max_tokens": asked.max_tokens,
        "temperature": asked.temperature,
        "timeout": route.timeout,
        "num_retries": 0,
        "max_retries": 0,
        "drop_params": True,
        "caching": False,
    }
    if asked.stop:
        request["stop"] = asked.stop
    if asked.response_format.type != "text":
        request["response_format"] = _response_format(asked.response_format)
    if route.api_base is not None:
        request["api_base"] = route.api_base
    if route.api_key_env is not None:
        request["api_key"] = os.environ.get(route.api_key_env, "")
    return request


def _response_format(wanted: ResponseFormat) -> dict[str, Any]:
    if wanted.json_schema is None:
        return {"type": wanted.type}
    schema = {"name": wanted.json_schema.name, "schema": wanted.json_schema.schema_, "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_TOKENS else 0
