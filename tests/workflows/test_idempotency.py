"""Repeated requests: one runs, the others get its answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import func, select, update
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from activities.admit import Admit
from domain.calls import Call, CallBatch, Outcome
from domain.errors import CohortError, ErrorCode
from domain.ids import new_id
from domain.policy import Level
from storage import documents, groups
from storage.answers import Answers
from storage.documents import NewDocument
from storage.idempotency import GRACE, IdempotencyKeys
from storage.sweep import sweep
from storage.tables import AUDIT, DOCUMENTS, IDEMPOTENCY, LEDGER
from tests.support.provider import Provider
from tests.support.waiting import eventually
from tests.support.world import World
from workflows import ports

SECRET = "The secret lamp is called ZEBRA and nobody else knows."


async def booked(acme: World) -> int:
    async with acme.parts.database.read() as tx:
        return (await tx.execute(select(func.count()).select_from(LEDGER))).scalar_one()


async def decisions(acme: World, call: Call) -> list[tuple[str, str]]:
    """What the audit says of one call."""
    async with acme.parts.database.read() as tx:
        rows = await tx.execute(select(AUDIT.c.decision, AUDIT.c.reason).where(AUDIT.c.id == call.id))
        return [(row.decision, row.reason) for row in rows]


async def waiting(acme: World, call: Call) -> "asyncio.Task[Outcome]":
    """A repeated call at a door, as soon as it has been admitted and waits for the first one."""
    handle = acme.client.get_workflow_handle(f"calls-acme-research-{call.id}")
    asking = asyncio.create_task(acme.at_door(call))

    async def admitted() -> bool:
        try:
            return (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
        except RPCError:
            return False  # not started yet

    await eventually(admitted, seconds=10, what="the repeated call is admitted")
    assert not asking.done()
    return asking


async def _asked(provider: Provider, times: int) -> bool:
    return provider.attempts["held"] == times


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
    second = first.model_copy(update={"id": new_id()})
    [started] = await acme.batch(first)

    repeating = await waiting(acme, second)
    provider.released.set()

    repeated, answered = await repeating, await acme.final(started)
    assert repeated.call_id == second.id
    assert repeated.data == answered.data
    assert repeated.data is not None
    assert provider.attempts == {"held": 1}
    assert await booked(acme) == 1


async def _leave(acme: World) -> None:
    async with acme.parts.database.write() as tx:
        await groups.remove_member(tx, "ada", "acme-research")


async def _bind(acme: World) -> None:
    """From now on, Ada comes with a key for the partner only."""
    async with acme.parts.database.write() as tx:
        key = await groups.create_key(tx, "ada", pepper=acme.parts.secrets.key("api-keys"), groups=["partner"])
    acme.keys = {**acme.keys, "ada": key.id}


async def _restrict(acme: World) -> None:
    row = NewDocument("secret", "About secret", "s.md", SECRET, Level.INTERNAL, restricted_groups=frozenset({"acme"}))
    async with acme.parts.database.write() as tx:
        await documents.upsert(tx, "acme-research", [row])


@pytest.mark.parametrize(
    ("change", "before"),
    [(_leave, True), (_leave, False), (_bind, True), (_restrict, True), (_restrict, False)],
    ids=["left", "left-meanwhile", "other-key", "restricted", "restricted-meanwhile"],
)
async def test_a_repeated_request_gets_only_what_its_caller_may_see_when_it_is_answered(
    acme: World, provider: Provider, change: Callable[[World], Awaitable[None]], before: bool
) -> None:
    """The first request's caller is answered; what the second may see has changed before it came, or while it waits."""
    await acme.add_document("acme-research", "secret", SECRET)
    async with acme.parts.database.write() as tx:
        await groups.add_member(tx, "ada", "partner")
    question = {"retrieval": {"enabled": True}, "cache": "off", "model": "held", "idempotency_key": "k1"}
    [started] = await acme.batch(acme.ask("ada", "What is the secret lamp called?", **question))
    await eventually(partial(_asked, provider, 1), seconds=10, what="the provider is asked")

    if before:
        await change(acme)
    repeating = await waiting(acme, second := acme.ask("ada", "What is the secret lamp called?", **question))
    if not before:
        await change(acme)
    provider.released.set()
    repeated = await repeating

    assert [one.id for one in (await acme.final(started)).provenance] == ["secret"]
    assert repeated.data is None
    assert repeated.provenance == ()
    assert repeated.error is not None
    assert repeated.error.code is ErrorCode.CONFLICT
    assert "new idempotency key" in repeated.error.message
    assert await decisions(acme, second) == [("refused", "conflict")]


async def test_what_an_answer_says_of_its_caller_is_said_of_the_one_who_repeats(
    acme: World, provider: Provider
) -> None:
    async with acme.parts.database.write() as tx:
        await groups.add_member(tx, "ada", "partner")
    [started] = await acme.batch(acme.ask("ada", "Well?", model="held", idempotency_key="k1"))
    await _bind(acme)

    repeating = await waiting(acme, acme.ask("ada", "Well?", model="held", idempotency_key="k1"))
    provider.released.set()

    first, repeated = await acme.final(started), await repeating
    assert repeated.data == first.data
    assert first.facts is not None
    assert repeated.facts is not None
    assert first.facts.user_groups == ("acme", "acme-research", "partner")
    assert repeated.facts.user_groups == ("partner",)


async def test_a_repeated_request_runs_itself_where_the_first_one_fails(acme: World, provider: Provider) -> None:
    first = acme.ask("ada", "Once only", model="held", idempotency_key="k1")
    second = acme.ask("ada", "Once only", model="held", idempotency_key="k1")
    [started] = await acme.batch(first)
    await eventually(partial(_asked, provider, 1), seconds=10, what="the provider is asked")

    repeating = await waiting(acme, second)
    assert await decisions(acme, second) == []
    await acme.client.get_workflow_handle(f"completion-{first.id}").cancel()
    await eventually(partial(_asked, provider, 2), seconds=10, what="the provider is asked again")
    provider.released.set()

    assert (await acme.final(started)).error is not None
    repeated = await repeating
    assert repeated.data is not None
    assert repeated.data["id"] == f"completion-{second.id}"
    assert await decisions(acme, second) == [("allowed", "")]
    assert await booked(acme) == 1


async def test_nobody_waits_again_for_what_has_ended_without_a_word(acme: World, provider: Provider) -> None:
    await acme.answer(acme.ask("ada", "Once only", idempotency_key="k1"))
    async with acme.parts.database.write() as tx:
        await tx.execute(update(IDEMPOTENCY).values(outcome=None))

    with pytest.raises(CohortError, match="Use a new idempotency key") as lost:
        await acme.at_door(acme.ask("ada", "Once only", idempotency_key="k1"))

    assert lost.value.code is ErrorCode.CONFLICT
    assert provider.attempts == {"good": 1}


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


async def test_admission_that_is_run_again_keeps_a_large_answer_as_long_as_its_key(acme: World) -> None:
    """As it happens where a worker dies between settling and the end of its workflow task."""
    key = acme.parts.secrets.key("answers")
    prompt, answers = "lamp " * 5_000, Answers(acme.parts.database, key)
    assert (await acme.answer(acme.ask("ada", prompt, model="echo"))).error is None
    calls = [acme.ask("ada", prompt, model="echo", idempotency_key=f"k{n}") for n in range(50)]
    outcomes = await acme.batch(*calls)

    again = await Admit(acme.parts.database, IdempotencyKeys(key), answers).run(
        CallBatch(family="completions", lane="acme-research", calls=tuple(calls))
    )

    stored = [outcome.call_id for outcome in outcomes if outcome.stored]
    assert stored
    assert {id for id, outcome in again.replayed.items() if outcome.stored} == set(stored)
    for id in stored:
        assert await answers.get(id, now=time.time() + 23 * 3600)


async def test_a_call_that_was_terminated_says_so_and_runs_again_within_the_hour(
    acme: World, provider: Provider
) -> None:
    call = acme.ask("ada", "Once only", model="held", idempotency_key="k1")
    [started] = await acme.batch(call)
    await acme.client.get_workflow_handle(f"completion-{call.id}").terminate("an operator's decision")
    provider.released.set()

    with pytest.raises(CohortError) as soon:
        await acme.at_door(call.model_copy(update={"id": new_id()}))
    async with acme.parts.database.write() as tx:  # an hour later
        passed = ports.CHILD_LIMIT.total_seconds() + GRACE
        await tx.execute(update(IDEMPOTENCY).values(expires_at=IDEMPOTENCY.c.expires_at - passed))
    later = await acme.at_door(call.model_copy(update={"id": new_id()}))

    assert started.deferred == f"completion-{call.id}"
    assert soon.value.code is ErrorCode.CONFLICT
    assert "operator" in soon.value.message
    assert "new idempotency key" in soon.value.message
    assert later.error is None
    assert later.data is not None


async def test_a_call_that_came_to_no_end_says_so(
    acme: World, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "CHILD_LIMIT", timedelta(seconds=3))

    with pytest.raises(CohortError) as raised:
        await acme.at_door(acme.ask("ada", "Once only", model="held"))

    assert raised.value.code is ErrorCode.DEADLINE_EXCEEDED
    assert raised.value.retryable
    assert "given up" in raised.value.message
    assert "may still be running" not in raised.value.message


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
