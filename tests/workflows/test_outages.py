"""A database that goes away in the middle of a call costs time: no row, no answer and no idempotency key."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from activities import settle
from domain.calls import Call, Outcome, Settlement
from domain.errors import ErrorCode
from domain.ingestion import JobOutput
from storage.idempotency import IdempotencyKeys
from storage.tables import AUDIT, LEDGER
from tests.support.executions import cancelled, kept_trying
from tests.support.provider import Provider
from tests.support.world import World

LAMP = json.dumps({"id": "lamp", "title": "Lamp", "category": "lamps", "price": 1}).encode()


@contextlib.asynccontextmanager
async def without(acme: World, table: str) -> AsyncGenerator[None]:
    """No statement that needs `table` succeeds until the block ends."""
    await _run(acme, f"ALTER TABLE {table} RENAME TO away")
    yield
    await _run(acme, f"ALTER TABLE away RENAME TO {table}")


async def _run(acme: World, statement: str) -> None:
    async with acme.parts.database.write() as tx:
        await tx.execute(text(statement))


async def written(acme: World, call: Call) -> tuple[list[int], list[tuple[str, str]]]:
    """What the ledger (in prompt tokens) and the audit trail hold of a call."""
    async with acme.parts.database.read() as tx:
        booked = await tx.execute(select(LEDGER.c.prompt_tokens).where(LEDGER.c.call_id == call.id))
        audited = await tx.execute(select(AUDIT.c.decision, AUDIT.c.reason).where(AUDIT.c.id == call.id))
        return list(booked.scalars()), [(row.decision, row.reason) for row in audited]


async def test_an_answer_that_was_paid_for_outlasts_an_outage(acme: World, provider: Provider) -> None:
    call = acme.ask("ada", "Well?", model="held", idempotency_key="k1")
    [started] = await acme.batch(call)
    async with without(acme, "ledger"):
        provider.released.set()
        await kept_trying(acme.client, f"completion-{call.id}", "settle_completion")

    final = await acme.final(started)
    [again] = await acme.batch(acme.ask("ada", "Well?", model="held", idempotency_key="k1"))

    assert final.data is not None
    assert final.data["text"] == "An answer."
    assert again.data == final.data
    assert await written(acme, call) == ([11], [("allowed", "")])
    assert provider.attempts == {"held": 1}


async def test_a_failure_outlasts_an_outage_and_gives_its_key_free(acme: World, provider: Provider) -> None:
    call = acme.ask("ada", "Well?", model="flaky-2", idempotency_key="k1")
    async with without(acme, "audit"):
        [started] = await acme.batch(call)
        await kept_trying(acme.client, f"completion-{call.id}", "settle")

    final = await acme.final(started)
    again = await acme.answer(acme.ask("ada", "Well?", model="flaky-2", idempotency_key="k1"))

    assert final.error is not None
    assert final.error.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert again.error is None
    assert await written(acme, call) == ([], [("failed", "provider_unavailable")])


async def test_a_cancellation_while_the_database_is_away_takes_nothing_back(acme: World, provider: Provider) -> None:
    call = acme.ask("ada", "Well?", cache="off")
    async with without(acme, "ledger"):
        [started] = await acme.batch(call)
        await kept_trying(acme.client, f"completion-{call.id}", "settle_completion")
        await cancelled(acme.client, f"completion-{call.id}")

    await same_in_all_books(acme, call, await acme.final(started))


async def test_a_cancellation_while_an_answer_is_written_down_takes_nothing_back(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on, write = asyncio.Event(), asyncio.Event(), settle.write

    async def held(tx: AsyncConnection, items: Sequence[Settlement], keys: IdempotencyKeys) -> int:
        entered.set()
        await go_on.wait()
        return await write(tx, items, keys)

    monkeypatch.setattr(settle, "write", held)
    call = acme.ask("ada", "Well?", cache="off")
    [started] = await acme.batch(call)
    await asyncio.wait_for(entered.wait(), 30)
    await cancelled(acme.client, f"completion-{call.id}")
    go_on.set()

    await same_in_all_books(acme, call, await acme.final(started))


async def same_in_all_books(acme: World, call: Call, final: Outcome) -> None:
    assert final.data is not None
    assert final.data["text"] == "An answer."
    assert await written(acme, call) == ([11], [("allowed", "")])


async def test_an_upload_is_audited_and_answered_where_its_start_cannot_be_settled(acme: World) -> None:
    asked = {"upload_id": await acme.upload("ada", LAMP), "group": "acme-research", "access_level": None}
    call = acme.call("ada", "products_ingest", asked, idempotency_key="k1")
    await _run(acme, "CREATE TRIGGER away BEFORE UPDATE ON idempotency BEGIN SELECT RAISE(ABORT, 'away'); END")
    [outcome] = await acme.batch(call)
    await _run(acme, "DROP TRIGGER away")

    job = await closed(acme, call)
    [again] = await acme.batch(acme.call("ada", "products_ingest", asked, idempotency_key="k1"))

    assert outcome.error is None, outcome.error
    assert outcome.data is not None
    assert (outcome.data["jobId"], outcome.data["status"]) == (call.id, "queued")
    assert job.status == "completed"
    assert again.data == outcome.data
    assert await written(acme, call) == ([], [("allowed", "")])


async def closed(acme: World, call: Call) -> JobOutput:
    running = acme.client.get_workflow_handle(f"ingest-{call.id}", result_type=JobOutput)
    return await asyncio.wait_for(running.result(), 90)


async def test_a_key_is_free_where_its_call_was_never_admitted(acme: World, provider: Provider) -> None:
    """The claim was written, and then the sources of a colleague's stored answer could not be read."""
    question: dict[str, Any] = {"retrieval": {"enabled": True}, "cache": "off"}
    await acme.add_document("acme", "charter", "The charter says that every lamp is blue.")
    await acme.answer(acme.ask("grace", "What does the charter say?", **question, idempotency_key="k0"))
    async with without(acme, "documents"):
        outcomes = await acme.batch(
            acme.ask("grace", "What does the charter say?", **question, idempotency_key="k0"),
            acme.ask("ada", "Well?", idempotency_key="k1"),
        )

    again = await acme.answer(acme.ask("ada", "Well?", idempotency_key="k1"))

    assert [outcome.error.code for outcome in outcomes if outcome.error] == [ErrorCode.INTERNAL] * 2
    assert again.error is None, again.error
