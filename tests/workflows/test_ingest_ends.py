"""An ingestion ends once: cancelled or overtaken, it writes nothing afterwards and leaves no job that runs for good."""

import asyncio
import functools
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select, text
from temporalio.testing import ActivityEnvironment

from activities.ingest_slice import IngestSlices
from domain.calls import AdmittedCall, Call
from domain.errors import CohortError, ErrorCode
from domain.ingestion import IngestInput, IngestJob, IngestSlice, JobOutput, Kind
from domain.policy import Principal
from storage import ingestion, snapshots
from storage.idempotency import IdempotencyKeys
from storage.indexing import Indexer
from storage.ingestion import Parsing
from storage.tables import INGEST_ROWS, PRODUCTS
from storage.upload_lines import Line, read_slice
from tests.support.executions import cancelled, kept_trying
from tests.support.world import World


@dataclass
class Held:
    """The first slice that is parsed waits until the test lets it go; all others pass."""

    parsing: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def hold(self, loop: asyncio.AbstractEventLoop, kind: Kind, lines: Sequence[Line]) -> Parsing:
        if not self.parsing.is_set():
            loop.call_soon_threadsafe(self.parsing.set)
            self.go_on.wait(60)
        return _parse(kind, lines)


_parse = ingestion.parse


@pytest_asyncio.fixture
async def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held()
    monkeypatch.setattr(ingestion, "parse", functools.partial(held.hold, asyncio.get_running_loop()))
    return held


def lamp(id: str, title: str = "Lamp") -> bytes:
    return json.dumps({"id": id, "title": title, "category": "lamps", "price": 1}).encode() + b"\n"


async def asked(acme: World, content: bytes) -> Call:
    upload = await acme.upload("ada", content)
    return acme.call("ada", "products_ingest", {"upload_id": upload, "group": "acme-research", "access_level": None})


async def started(acme: World, call: Call) -> str:
    [outcome] = await acme.batch(call)
    assert outcome.error is None, outcome.error
    return f"ingest-{call.id}"


async def closed(acme: World, call: Call) -> JobOutput:
    running = acme.client.get_workflow_handle(f"ingest-{call.id}", result_type=JobOutput)
    return await asyncio.wait_for(running.result(), 90)


async def told(acme: World, call: Call) -> JobOutput:
    [outcome] = await acme.batch(acme.call("ada", "jobs_get", {"id": call.id}))
    return JobOutput.model_validate(outcome.data)


async def titles(acme: World) -> dict[str, str]:
    async with acme.parts.database.read() as tx:
        return {row.id: row.title for row in await tx.execute(select(PRODUCTS.c.id, PRODUCTS.c.title))}


async def noted(acme: World) -> int:
    async with acme.parts.database.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(INGEST_ROWS))).scalar_one())


async def test_a_cancelled_ingestion_writes_nothing_after_its_end(acme: World, held: Held) -> None:
    workflow = await started(acme, call := await asked(acme, lamp("a")))
    await asyncio.wait_for(held.parsing.wait(), 30)
    await acme.client.get_workflow_handle(workflow).cancel()
    ended = await closed(acme, call)
    held.go_on.set()
    # Whatever were left of the first has had its turn once another one has run.
    await started(acme, other := await asked(acme, lamp("b")))
    await closed(acme, other)

    assert ended.status == "cancelled"
    assert ended.error is not None
    assert ended.error.code is ErrorCode.CONFLICT
    assert "operator" in ended.error.message
    assert "again" in ended.error.message
    assert (await told(acme, call)).model_dump(exclude={"progress"}) == ended.model_dump(exclude={"progress"})
    assert await titles(acme) == {"b": "Lamp"}
    assert await noted(acme) == 0


async def test_a_cancellation_that_comes_too_late_for_a_slice_ends_the_next_ones(
    acme: World, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.ingest_slice.read_slice", functools.partial(read_slice, rows=1))
    workflow = await started(acme, call := await asked(acme, lamp("a") + lamp("b")))
    await asyncio.wait_for(held.parsing.wait(), 30)
    await cancelled(acme.client, workflow)
    held.go_on.set()

    assert (await closed(acme, call)).status == "cancelled"
    assert (await told(acme, call)).status == "cancelled"
    assert "b" not in await titles(acme)


async def test_a_cancellation_while_an_ingestion_is_closed_takes_nothing_back(acme: World) -> None:
    away = "BEFORE UPDATE ON jobs WHEN NEW.status = 'completed' BEGIN SELECT RAISE(ABORT, 'away'); END"
    await _run(acme, f"CREATE TRIGGER away {away}")
    workflow = await started(acme, call := await asked(acme, lamp("a")))
    await kept_trying(acme.client, workflow, "end_ingest")
    await cancelled(acme.client, workflow)
    await _run(acme, "DROP TRIGGER away")

    assert (await closed(acme, call)).status == "completed"
    assert (await told(acme, call)).status == "completed"
    assert await titles(acme) == {"a": "Lamp"}


async def _run(acme: World, statement: str) -> None:
    async with acme.parts.database.write() as tx:
        await tx.execute(text(statement))


async def test_a_worker_that_was_thought_dead_puts_no_old_row_over_a_newer_one(acme: World, held: Held) -> None:
    parts = acme.parts
    old = await asked(acme, lamp("a", "Old"))
    indexer = Indexer(parts.database, parts.vectors, parts.embedder)
    slices = IngestSlices(parts.database, parts.uploads, indexer, IdempotencyKeys(parts.secrets.key("answers")))
    work: Any = ActivityEnvironment().run(slices.run, IngestSlice(job=await _job(acme, old)))
    late = asyncio.create_task(work)
    await asyncio.wait_for(held.parsing.wait(), 30)
    await started(acme, old)
    before = await closed(acme, old)
    await started(acme, new := await asked(acme, lamp("a", "New")))
    await closed(acme, new)
    held.go_on.set()

    with pytest.raises(CohortError, match="has ended"):
        await late
    assert await titles(acme) == {"a": "New"}
    assert await told(acme, old) == before
    assert await noted(acme) == 0


async def _job(acme: World, call: Call) -> IngestJob:
    """What a worker holds that took the first slice of an upload before it fell silent."""
    async with acme.parts.database.read() as tx:
        [principal] = await snapshots.take(tx, [call.caller])
    assert isinstance(principal, Principal)
    admitted = AdmittedCall(call=call, principal=principal)
    return IngestJob(admitted=admitted, kind="products", input=IngestInput.model_validate(call.input))
