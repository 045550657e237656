"""Repeated requests: one runs, the others get its answer."""

import time

import pytest
from sqlalchemy import func, select, update

from domain.errors import ErrorCode
from domain.policy import Level
from storage.answers import Answers
from storage.sweep import sweep
from storage.tables import DOCUMENTS, LEDGER
from tests.support.provider import Provider
from tests.support.world import World


async def booked(acme: World) -> int:
    async with acme.parts.database.read() as tx:
        return (await tx.execute(select(func.count()).select_from(LEDGER))).scalar_one()


async def test_the_same_request_gets_the_same_answer(acme: World, provider: Provider) -> None:
    first = await acme.answer(acme.ask("ada", "Once only", cache="off", idempotency_key="k1"))

    [second] = await acme.batch(call := acme.ask("ada", "Once only", cache="off", idempotency_key="k1"))

    assert second.call_id == call.id
    assert second.data == first.data
    assert provider.attempts == {"good": 1}
    assert await booked(acme) == 1


async def test_the_same_key_with_another_request_is_a_conflict(acme: World, provider: Provider) -> None:
    await acme.answer(acme.ask("ada", "Once only", idempotency_key="k1"))

    body, context = await acme.batch(
        acme.ask("ada", "Twice", idempotency_key="k1"),
        acme.ask("ada", "Once only", idempotency_key="k1", context="acme-research"),
    )

    for outcome in (body, context):
        assert outcome.error is not None
        assert outcome.error.code is ErrorCode.CONFLICT
        assert not outcome.error.retryable
        assert "'k1'" in outcome.error.message
    assert provider.attempts == {"good": 1}


async def test_another_users_key_is_another_key(acme: World, provider: Provider) -> None:
    await acme.answer(acme.ask("ada", "Once only", cache="off", idempotency_key="k1"))

    other = await acme.answer(acme.ask("grace", "Something else", cache="off", idempotency_key="k1"))

    assert other.error is None
    assert provider.attempts == {"good": 2}


async def test_a_request_that_is_repeated_while_it_runs_waits_for_the_first(acme: World, provider: Provider) -> None:
    first = acme.ask("ada", "Once only", model="held", idempotency_key="k1")
    [started] = await acme.batch(first)

    [repeated] = await acme.batch(acme.ask("ada", "Once only", model="held", idempotency_key="k1"))
    provider.released.set()

    assert repeated.deferred == started.deferred == f"completion-{first.id}"
    assert (await acme.final(repeated)).data == (await acme.final(started)).data
    assert provider.attempts == {"held": 1}


async def test_of_two_in_one_batch_one_runs(acme: World, provider: Provider) -> None:
    first, second = await acme.batch(
        acme.ask("ada", "Once only", idempotency_key="k1"), acme.ask("ada", "Once only", idempotency_key="k1")
    )

    assert first.deferred is not None
    assert second.error is not None
    assert second.error.code is ErrorCode.CONFLICT
    assert second.error.retryable
    assert second.error.details["retryAfter"] == 1
    assert (await acme.final(first)).error is None
    assert provider.attempts == {"good": 1}


async def test_an_answer_too_large_to_travel_is_kept_as_long_as_its_key(acme: World, provider: Provider) -> None:
    prompt, answers = "lamp " * 5_000, Answers(acme.parts.database, acme.parts.secrets.key("answers"))
    assert (await acme.answer(acme.ask("ada", prompt, model="echo"))).error is None
    cached = await acme.batch(*(acme.ask("ada", prompt, model="echo", idempotency_key=f"k{n}") for n in range(50)))
    place = next(place for place, outcome in enumerate(cached) if outcome.stored)
    async with acme.parts.database.write() as tx:
        assert await sweep(tx, now=time.time() + 23 * 3600) == 0

    [again] = await acme.batch(acme.ask("ada", prompt, model="echo", idempotency_key=f"k{place}"))

    assert again.error is None
    assert again.stored
    assert prompt.strip() in (await answers.get(again.call_id))["text"]
    assert provider.attempts == {"echo": 1}


async def test_a_failed_request_may_be_tried_again(acme: World, provider: Provider) -> None:
    failed = await acme.answer(acme.ask("ada", "Try", model="flaky-2", idempotency_key="k1"))
    assert failed.error is not None
    assert failed.error.code is ErrorCode.PROVIDER_UNAVAILABLE

    again = await acme.answer(acme.ask("ada", "Try", model="flaky-2", idempotency_key="k1"))

    assert again.error is None
    assert await booked(acme) == 1


@pytest.mark.parametrize("change", [{"version": 2}, {"access_level": "confidential", "owner_group": "partner"}])
async def test_a_stored_answer_is_kept_back_once_its_sources_may_not_be_seen(
    acme: World, change: dict[str, object]
) -> None:
    await acme.add_document("acme", "charter", "The charter says that every lamp is blue.", Level.INTERNAL)
    question = {"retrieval": {"enabled": True}, "cache": "off", "idempotency_key": "k1"}
    first = await acme.answer(acme.ask("ada", "What does the charter say of lamps?", **question))
    assert [one.id for one in first.provenance] == ["charter"]
    async with acme.parts.database.write() as tx:
        await tx.execute(update(DOCUMENTS).where(DOCUMENTS.c.id == "charter").values(**change))

    [again] = await acme.batch(acme.ask("ada", "What does the charter say of lamps?", **question))

    assert again.data is None
    assert again.error is not None
    assert again.error.code is ErrorCode.CONFLICT
    assert "new idempotency key" in again.error.message
