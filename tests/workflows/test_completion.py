"""One completion, with providers of every bad manner."""

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update

from activities.providers.routes import RouteConfig
from domain.errors import ErrorCode
from storage import epochs
from storage.tables import DOCUMENTS, LEDGER
from tests.support.provider import KEY, Provider
from tests.support.waiting import eventually
from tests.support.world import World, route, world

GARBAGE = ["junk", "html", "list", "nochoices", "nullmessage", "wrongtypes", "empty", "errorbody", "disconnect"]


@pytest.mark.parametrize("manner", [*GARBAGE, "status-500", "status-503", "status-429"])
async def test_a_provider_that_fails_is_unavailable(acme: World, provider: Provider, manner: str) -> None:
    outcome = await acme.answer(acme.ask("ada", "Well?", model=manner))

    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert KEY not in outcome.error.message
    assert "told to fail" not in outcome.error.message
    # One is tried again by the workflow, never by the library; what says that it is not for us is not.
    assert provider.attempts[manner] == (1 if manner == "errorbody" else 2)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_provider_that_refuses_us_is_asked_once(acme: World, provider: Provider, status: int) -> None:
    outcome = await acme.answer(acme.ask("ada", "Well?", model=f"status-{status}"))

    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert not outcome.error.retryable
    assert provider.attempts == {f"status-{status}": 1}


@pytest.mark.parametrize(("status", "field"), [(400, "data"), (413, "prompt")])
async def test_a_request_that_no_provider_will_take_is_the_callers(
    acme: World, provider: Provider, status: int, field: str
) -> None:
    outcome = await acme.answer(acme.ask("ada", "Well?", model=f"status-{status}"))

    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.INVALID_ARGUMENT
    assert outcome.error.details["fields"][0]["field"] == field
    assert provider.attempts == {f"status-{status}": 1}


@pytest.mark.parametrize("model", ["gpt4o-mini-typo", "openai/status-401"])
async def test_a_wrong_set_up_is_the_operators_and_health_shows_it(
    tmp_path: Path, temporal: str, redis_url: str, provider: Provider, model: str
) -> None:
    wrong = replace(route(provider, "wrong"), model=model, api_base=provider.url if "/" in model else None)
    async with world(tmp_path, temporal=temporal, redis_url=redis_url, routes=[wrong]) as acme:
        outcome = await acme.answer(acme.ask("ada", "Well?"))
        [health] = await acme.batch(acme.call("ada", "health_check"))

    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.retryable) == (ErrorCode.PROVIDER_UNAVAILABLE, False)
    assert "An operator must look" in outcome.error.message
    assert health.data is not None
    assert health.data["status"] == "degraded"
    [part] = [part for part in health.data["components"] if part["name"] == "provider:wrong"]
    assert (part["state"], "not set up correctly" in part["note"]) == ("down", True)


async def test_a_provider_that_hangs_is_cut_off(acme: World, provider: Provider) -> None:
    began = time.monotonic()

    outcome = await acme.answer(acme.ask("ada", "Well?", model="hang"))

    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert "in time" in outcome.error.message
    assert time.monotonic() - began < 15


async def test_a_provider_that_outlasts_the_deadline_is_named_before_it(acme: World, provider: Provider) -> None:
    """Its own time-out is longer, and its caller must not be left with what a door says that knows nothing."""
    call = acme.ask("ada", "Well?", model="slow-30", seconds=5)

    outcome = await acme.answer(call)

    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert "The model's provider did not answer in time" in outcome.error.message
    assert time.time() < call.deadline + 1
    assert provider.attempts == {"slow-30": 1}


async def test_a_deadline_that_is_over_costs_no_provider_anything(acme: World, provider: Provider) -> None:
    outcome = await acme.answer(acme.ask("ada", "Well?", model="good", seconds=-1))

    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.DEADLINE_EXCEEDED
    assert provider.attempts == {}


async def test_what_an_operator_cancels_is_said_and_may_be_asked_again(acme: World, provider: Provider) -> None:
    call = acme.ask("ada", "Well?", model="slow-30", idempotency_key="k1")
    [started] = await acme.batch(call)

    async def asked() -> bool:
        return provider.attempts["slow-30"] == 1

    await eventually(asked, seconds=10, what="the provider is asked")
    await acme.client.get_workflow_handle(f"completion-{call.id}").cancel()
    outcome = await acme.final(started)
    [again] = await acme.batch(acme.ask("ada", "Something else", idempotency_key="k1"))

    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.CONFLICT
    assert "operator" in outcome.error.message
    assert (await acme.final(again)).error is None


async def test_a_provider_that_needs_a_second_attempt_gets_it(acme: World, provider: Provider) -> None:
    outcome = await acme.answer(acme.ask("ada", "Well?", model="flaky-1"))

    assert outcome.error is None
    assert provider.attempts == {"flaky-1": 2}


@pytest.mark.parametrize("first", ["status-503", "status-401", "hang", "junk"])
async def test_the_next_route_answers_where_the_first_does_not(
    tmp_path: Path, temporal: str, redis_url: str, provider: Provider, first: str
) -> None:
    routes = [route(provider, first, timeout=0.5), route(provider, "good")]
    async with world(tmp_path, temporal=temporal, redis_url=redis_url, routes=routes) as acme:
        outcome = await acme.answer(call := acme.ask("ada", "Well?"))

        assert outcome.error is None
        assert outcome.usage is not None
        assert outcome.usage.model == "good"
        details = await acme.details(f"completion-{call.id}")
        assert f"`{first}` did not answer" in details
        assert "`good` answered" in details


async def test_without_any_route_the_answer_says_so(tmp_path: Path, temporal: str, redis_url: str) -> None:
    async with world(tmp_path, temporal=temporal, redis_url=redis_url, routes=list[RouteConfig]()) as acme:
        outcome = await acme.answer(acme.ask("ada", "Well?"))

    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.PROVIDER_UNAVAILABLE


async def test_what_was_asked_for_reaches_the_provider(acme: World, provider: Provider) -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    outcome = await acme.answer(
        acme.ask(
            "ada",
            "Well?",
            max_tokens=33,
            temperature=0.7,
            stop=["END"],
            response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        )
    )

    assert outcome.data is not None
    assert json.loads(outcome.data["text"]) == {"answer": "An answer."}
    [body] = provider.requests
    assert (body["max_tokens"], body["temperature"], body["stop"]) == (33, 0.7, ["END"])
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert body["messages"] == [{"role": "user", "content": "Well?"}]


async def test_a_provider_without_usage_is_estimated(acme: World) -> None:
    outcome = await acme.answer(acme.ask("ada", "x" * 400, model="nousage"))

    assert outcome.usage is not None
    assert outcome.usage.prompt_tokens == 100
    assert outcome.usage.completion_tokens > 0


@pytest.mark.parametrize(("manner", "text"), [("surrogate", "Half an emoji: ?"), ("oddusage", "An answer.")])
async def test_an_answer_that_no_payload_or_table_could_hold_is_mended_and_booked_once(
    acme: World, provider: Provider, manner: str, text: str
) -> None:
    outcome = await acme.answer(call := acme.ask("ada", "Well?", model=manner))

    assert outcome.error is None
    assert outcome.data is not None
    assert outcome.data["text"] == text
    assert provider.attempts == {manner: 1}
    async with acme.parts.database.read() as tx:
        [booked] = await tx.execute(select(LEDGER).where(LEDGER.c.call_id == call.id))
    assert 0 < booked.prompt_tokens < 100
    assert 0 < booked.completion_tokens < 100


async def test_sources_are_given_cited_and_filtered(acme: World, provider: Provider) -> None:
    await acme.add_document("acme-research", "lamps", "Every lamp in the laboratory is blue since the spring.")
    await acme.add_document("acme-sales", "lamps-sold", "Every lamp that was sold this spring is green.")

    outcome = await acme.answer(acme.ask("ada", "Which colour has every lamp?", retrieval={"enabled": True}))

    assert outcome.data is not None
    assert [(one["index"], one["id"], one["kind"], one["cited"]) for one in outcome.data["citations"]] == [
        (1, "lamps", "document", True)
    ]
    assert [(one.owner_group, one.id, one.version) for one in outcome.provenance] == [("acme-research", "lamps", 1)]
    [body] = provider.requests
    assert "source [1]: About lamps" in body["messages"][-1]["content"]
    assert "green" not in json.dumps(body)


async def test_an_answer_is_not_kept_where_something_moved_meanwhile(acme: World, provider: Provider) -> None:
    asking = asyncio.create_task(acme.answer(acme.ask("ada", "Well?", model="held")))

    async def asked() -> bool:
        return provider.attempts["held"] == 1

    await eventually(asked, seconds=10, what="the provider is asked")
    async with acme.parts.database.write() as tx:
        await epochs.bump(tx, [epochs.of_group("acme")])
    provider.released.set()
    assert (await asking).error is None

    async with acme.parts.database.read() as tx:
        now = await epochs.read(tx, ["group:acme"])
    again = await acme.answer(acme.ask("ada", "Well?", model="held"))

    assert now["group:acme"] > 0
    assert again.usage is not None
    assert not again.usage.cached
    assert provider.attempts["held"] == 2


async def test_without_redis_calls_go_on(tmp_path: Path, temporal: str, provider: Provider) -> None:
    nowhere = f"unix://{tmp_path / 'no.sock'}"
    routes = [route(provider, "good")]
    async with world(tmp_path, temporal=temporal, redis_url=nowhere, routes=routes) as acme:
        first = await acme.answer(acme.ask("ada", "Well?"))
        second = await acme.answer(acme.ask("grace", "Well?"))
        [health] = await acme.batch(acme.call("ada", "health_check"))

    assert first.error is None
    assert second.usage is not None
    assert second.usage.cached
    assert health.data is not None
    assert health.data["status"] == "degraded"
    assert {part["name"]: part["state"] for part in health.data["components"]}["cache"] == "down"


async def test_the_cache_is_passed_by_where_a_source_has_changed_without_notice(
    acme: World, provider: Provider
) -> None:
    """Provenance is read again on every hit: a lost epoch alone opens nothing."""
    await acme.add_document("acme", "charter", "The charter says that every lamp is blue.")
    await acme.answer(acme.ask("ada", "What does the charter say?", retrieval={"enabled": True}))
    async with acme.parts.database.write() as tx:
        await tx.execute(update(DOCUMENTS).values(version=7))

    again = await acme.answer(acme.ask("grace", "What does the charter say?", retrieval={"enabled": True}))

    assert again.usage is not None
    assert not again.usage.cached
