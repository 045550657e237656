"""Call one provider, once: retries and fallbacks are the workflow's."""

import time
from dataclasses import replace

from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from temporalio import activity

from activities.heartbeats import beating
from activities.providers.litellm_provider import LiteLLMProvider, Reply
from activities.providers.routes import RouteConfig, RouteState, RouteStates, RouteTable
from domain.calls import Usage
from domain.completions import CompletionTask, Message, ProviderAnswer
from domain.errors import CohortError, ErrorCode
from domain.prompt import frame
from workflows import ports

_tracer = trace.get_tracer("cohort.provider")
_meter = metrics.get_meter("cohort.provider")
_tokens = _meter.create_histogram("gen_ai.client.token.usage", unit="{token}")
_seconds = _meter.create_histogram("gen_ai.client.operation.duration", unit="s")
_cost = _meter.create_counter("cohort.cost", unit="USD")


class Complete:
    """Frames the prompt for the route's window, calls the route's provider, reads the answer."""

    def __init__(self, table: RouteTable, provider: LiteLLMProvider, states: RouteStates) -> None:
        self._table = table
        self._provider = provider
        self._states = states

    @activity.defn(name=ports.complete.name)
    async def run(self, task: CompletionTask) -> ProviderAnswer:
        """One attempt on one route.

        Raises:
            CohortError: see `LiteLLMProvider.complete`.
        """
        if task.route.name not in self._table:
            raise CohortError(
                ErrorCode.PROVIDER_UNAVAILABLE,
                "The chosen provider is not set up on the worker that took the call. Try again.",
            )
        own = self._table[task.route.name]
        route = replace(own, timeout=min(own.timeout, task.route.timeout))
        framed = frame(task.input, task.sources, route.context_tokens)
        async with beating(route.name):
            reply = await self._attempt(route, task, framed.messages)
        return ProviderAnswer(
            text=reply.text,
            finish_reason=reply.finish_reason,
            usage=Usage(
                provider=route.provider,
                model=route.label,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
                cost=reply.cost,
            ),
            given=framed.given,
        )

    async def _attempt(self, route: RouteConfig, task: CompletionTask, messages: tuple[Message, ...]) -> Reply:
        """The call itself, in a span that follows the GenAI conventions and holds no text."""
        asked = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": route.provider,
            "gen_ai.request.model": route.label,
            "gen_ai.request.max_tokens": task.input.max_tokens,
            "gen_ai.request.temperature": task.input.temperature,
        }
        began = time.perf_counter()
        state: RouteState = "failed"
        with _tracer.start_as_current_span(
            f"chat {route.label}",
            kind=SpanKind.CLIENT,
            attributes=asked,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                reply = await self._provider.complete(route, messages, task.input)
                state = "good"
            except CohortError as error:
                state = _state_after(error)
                span.set_attribute("error.type", error.code.value)
                span.set_status(Status(StatusCode.ERROR, error.code.value))
                raise
            finally:
                took = time.perf_counter() - began
                self._states.note(route.name, state)
                labels = {"gen_ai.provider.name": route.provider, "gen_ai.request.model": route.label}
                _seconds.record(took, labels)
            span.set_attributes(
                {
                    "gen_ai.response.finish_reasons": [reply.finish_reason],
                    "gen_ai.usage.input_tokens": reply.prompt_tokens,
                    "gen_ai.usage.output_tokens": reply.completion_tokens,
                }
            )
        _tokens.record(reply.prompt_tokens, {**labels, "gen_ai.token.type": "input"})
        _tokens.record(reply.completion_tokens, {**labels, "gen_ai.token.type": "output"})
        _cost.add(reply.cost, labels)
        return reply


def _state_after(error: CohortError) -> RouteState:
    """A refusal of the request says nothing about the provider; what no retry mends lies in our own set-up."""
    if error.code is not ErrorCode.PROVIDER_UNAVAILABLE:
        return "good"
    return "failed" if error.retryable else "broken"
