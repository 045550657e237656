"""The LiteLLM adapter against a provider that speaks OpenAI's wire format, and against the local model."""

import json
import logging
import os
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from activities.providers.litellm_provider import LiteLLMProvider
from activities.providers.routes import RouteConfig
from domain.completions import CompletionInput, Message
from domain.errors import CohortError, ErrorCode
from stack import processes
from tests.support.provider import KEY, Provider, provider_server
from tests.support.servers import free_port, wait_until

MESSAGES = [Message(role="user", content="Well?")]
ASKED = CompletionInput(prompt="Well?")


@pytest.fixture
def provider() -> Generator[Provider]:
    with provider_server() as server:
        yield server


@pytest.fixture(scope="module")
def lite() -> LiteLLMProvider:
    """One for all: importing the library takes seconds."""
    made = LiteLLMProvider()
    made.warm().join()
    return made


def route(provider: Provider, model: str, *, timeout: float = 10, free: bool = False) -> RouteConfig:
    os.environ["TESTER_KEY"] = KEY
    return RouteConfig(
        name="tester",
        provider="openai",
        model=f"openai/{model}",
        api_base=provider.url,
        api_key_env="TESTER_KEY",
        timeout=timeout,
        free=free,
    )


async def test_an_answer_has_its_text_its_usage_and_its_price(lite: LiteLLMProvider, provider: Provider) -> None:
    reply = await lite.complete(route(provider, "gpt-4o-mini"), MESSAGES, ASKED)

    assert (reply.text, reply.finish_reason) == ("An answer.", "stop")
    assert (reply.prompt_tokens, reply.completion_tokens) == (11, 7)
    assert 0 < reply.cost < 0.001
    assert provider.problems == []


async def test_half_a_character_is_replaced_and_the_rest_kept(lite: LiteLLMProvider, provider: Provider) -> None:
    reply = await lite.complete(route(provider, "surrogate"), MESSAGES, ASKED)

    assert (reply.text, reply.finish_reason) == ("Half an emoji: ?", "stop")
    assert (reply.prompt_tokens, reply.completion_tokens) == (11, 7)


async def test_counts_that_no_call_can_have_are_estimated(lite: LiteLLMProvider, provider: Provider) -> None:
    reply = await lite.complete(route(provider, "oddusage"), MESSAGES, ASKED)

    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("An answer.", 2, 3)


async def test_a_model_of_our_own_costs_nothing(lite: LiteLLMProvider, provider: Provider) -> None:
    reply = await lite.complete(route(provider, "gpt-4o-mini", free=True), MESSAGES, ASKED)

    assert reply.cost == 0


async def test_a_missing_price_is_said_once(
    lite: LiteLLMProvider, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    unpriced = replace(route(provider, "good"), name="unpriced")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert (await lite.complete(unpriced, MESSAGES, ASKED)).cost == 0

    assert [record.getMessage() for record in caplog.records if "no price" in record.getMessage()] == [
        "no price is known for the model of route unpriced: its calls are booked at 0"
    ]


@pytest.mark.parametrize(
    ("model", "code", "again"),
    [
        ("status-400", ErrorCode.INVALID_ARGUMENT, False),
        ("status-401", ErrorCode.PROVIDER_UNAVAILABLE, False),
        ("status-403", ErrorCode.PROVIDER_UNAVAILABLE, False),
        ("status-404", ErrorCode.PROVIDER_UNAVAILABLE, False),
        ("status-408", ErrorCode.PROVIDER_UNAVAILABLE, True),
        ("status-413", ErrorCode.INVALID_ARGUMENT, False),
        ("status-422", ErrorCode.PROVIDER_UNAVAILABLE, False),
        ("status-429", ErrorCode.PROVIDER_UNAVAILABLE, True),
        ("status-500", ErrorCode.PROVIDER_UNAVAILABLE, True),
        ("status-503", ErrorCode.PROVIDER_UNAVAILABLE, True),
        ("hang", ErrorCode.PROVIDER_UNAVAILABLE, True),
        ("disconnect", ErrorCode.PROVIDER_UNAVAILABLE, True),
        ("junk", ErrorCode.PROVIDER_UNAVAILABLE, True),
        ("html", ErrorCode.PROVIDER_UNAVAILABLE, True),
        ("list", ErrorCode.PROVIDER_UNAVAILABLE, True),
        ("huge", ErrorCode.PROVIDER_UNAVAILABLE, True),
        ("empty", ErrorCode.PROVIDER_UNAVAILABLE, True),
        ("nochoices", ErrorCode.PROVIDER_UNAVAILABLE, True),
        ("nullmessage", ErrorCode.PROVIDER_UNAVAILABLE, True),
        ("wrongtypes", ErrorCode.PROVIDER_UNAVAILABLE, True),
    ],
)
async def test_every_failure_is_told_in_our_words_after_one_attempt(
    lite: LiteLLMProvider,
    provider: Provider,
    caplog: pytest.LogCaptureFixture,
    model: str,
    code: ErrorCode,
    again: bool,
) -> None:
    with caplog.at_level(logging.DEBUG, logger="activities"), pytest.raises(CohortError) as failed:
        await lite.complete(route(provider, model, timeout=0.5 if model == "hang" else 10), MESSAGES, ASKED)

    assert (failed.value.code, failed.value.retryable) == (code, again)
    assert provider.attempts == {model: 1}
    told = failed.value.message + caplog.text
    assert KEY not in told
    assert "told to fail" not in told


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("status-400", "the provider refused the request (BadRequestError, status 400)"),
        ("status-401", "the provider does not take this server's key (AuthenticationError, status 401)"),
        ("status-404", "the provider knows no such model or address (NotFoundError, status 404)"),
        ("status-429", "the provider is at its limit (RateLimitError, status 429)"),
        ("status-503", "the provider failed or could not be reached (ServiceUnavailableError, status 503)"),
        ("hang", "no answer within 0 s"),
    ],
)
async def test_the_log_says_what_was_the_matter(
    lite: LiteLLMProvider, provider: Provider, caplog: pytest.LogCaptureFixture, model: str, reason: str
) -> None:
    with caplog.at_level(logging.WARNING, logger="activities"), pytest.raises(CohortError):
        await lite.complete(route(provider, model, timeout=0.4 if model == "hang" else 10), MESSAGES, ASKED)

    assert [record.getMessage() for record in caplog.records] == [f"route tester failed: {reason}"]


UNKNOWN = "LiteLLM knows no provider for the model gpt4o-mini-typo: write it as provider/model"


@pytest.mark.parametrize(
    ("model", "api_key_env", "sentence"),
    [
        ("gpt4o-mini-typo", None, UNKNOWN),
        ("openai/gpt-4o-mini", None, "OPENAI_API_KEY is not set, which the model openai/gpt-4o-mini needs"),
        ("anthropic/claude", None, "ANTHROPIC_API_KEY is not set, which the model anthropic/claude needs"),
        ("gemini/gemini-pro", None, "GOOGLE_API_KEY or GEMINI_API_KEY is not set, which the model"),
        ("openai/good", "NO_SUCH_KEY", "NO_SUCH_KEY is not set, which the route tester names for its key"),
    ],
)
async def test_a_wrong_set_up_is_seen_before_a_call_and_is_nobody_elses_fault(
    lite: LiteLLMProvider,
    provider: Provider,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    api_key_env: str | None,
    sentence: str,
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    base = provider.url if api_key_env else None
    wrong = RouteConfig(name="tester", provider="p", model=model, api_base=base, api_key_env=api_key_env)

    assert lite.faults([wrong, route(provider, "good")])["tester"].startswith(sentence)
    with caplog.at_level(logging.WARNING, logger="activities"), pytest.raises(CohortError) as failed:
        await lite.complete(wrong, MESSAGES, ASKED)

    assert (failed.value.code, failed.value.retryable) == (ErrorCode.PROVIDER_UNAVAILABLE, False)
    assert "An operator must look" in failed.value.message
    assert sentence in caplog.text


async def test_the_key_of_another_provider_is_not_sent_where_a_routes_own_is_missing(
    lite: LiteLLMProvider, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    own = RouteConfig(name="own", provider="p", model="openai/good", api_base=provider.url, api_key_env="NO_SUCH_KEY")

    with pytest.raises(CohortError, match="not set up"):
        await lite.complete(own, MESSAGES, ASKED)

    assert provider.attempts == {}


@pytest.mark.parametrize("model", ["ollama/llama3", "bedrock/anthropic.claude-v2", "hosted_vllm/x", "openai/good"])
def test_what_may_work_is_not_called_wrong(lite: LiteLLMProvider, provider: Provider, model: str) -> None:
    """Their credentials may come from elsewhere, or they need none."""
    named = route(provider, "good") if model == "openai/good" else RouteConfig(name="a", provider="p", model=model)

    assert lite.faults([named]) == {}


async def test_a_port_where_nobody_listens_is_unavailable(lite: LiteLLMProvider, provider: Provider) -> None:
    nowhere = Provider(url=f"http://127.0.0.1:{free_port()}/v1")

    with pytest.raises(CohortError) as failed:
        await lite.complete(route(nowhere, "good"), MESSAGES, ASKED)

    assert failed.value.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert failed.value.retryable


async def test_the_local_model_answers_in_the_shape_that_was_asked_for(lite: LiteLLMProvider, tmp_path: Path) -> None:
    port = free_port()
    environment = {**os.environ, "COHORT_HOME": str(tmp_path), "COHORT_LOCAL_LLM_KEY": KEY}
    log = tmp_path / "llm.log"
    process = processes.spawn([sys.executable, "-m", "stack.local_llm", str(port)], log=log, environment=environment)
    os.environ["TESTER_KEY"] = KEY
    local = RouteConfig(
        name="local",
        provider="local",
        model="openai/smollm2",
        api_base=f"http://127.0.0.1:{port}/v1",
        api_key_env="TESTER_KEY",
        free=True,
    )
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "sure": {"type": "boolean"}},
        "required": ["colour", "sure"],
        "additionalProperties": False,
    }
    asked = CompletionInput.model_validate(
        {
            "prompt": "Which colour is the sky? Answer in JSON.",
            "max_tokens": 64,
            "temperature": 0,
            "response_format": {"type": "json_schema", "json_schema": {"name": "sky", "schema": schema}},
        }
    )

    def ready() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    try:
        wait_until(ready, seconds=60, what=f"the local model, see {log}")
        reply = await lite.complete(local, asked.conversation(), asked)
        with pytest.raises(CohortError) as too_long:
            await lite.complete(local, [Message(role="user", content="word " * 9_000)], asked)
    finally:
        processes.end(process, grace=10)

    answer = json.loads(reply.text)
    assert answer["colour"] in ("red", "blue")
    assert isinstance(answer["sure"], bool)
    assert reply.prompt_tokens > 5
    assert reply.cost == 0
    assert too_long.value.code is ErrorCode.INVALID_ARGUMENT
    assert "too long" in too_long.value.message
