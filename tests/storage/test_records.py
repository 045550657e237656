"""What calls leave behind: ledger, audit, answers, jobs, and the sweep."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from domain.errors import CohortError, ErrorBody, ErrorCode
from domain.ingestion import IngestCounts, JobOutput, Progress, Reject
from storage import answers, audit, ingest_rows, jobs, ledger
from storage.answers import Answers
from storage.audit import Actor, Entry
from storage.ingest_rows import Dealt
from storage.jobs import NewJob
from storage.ledger import LedgerRow
from storage.sql import Database
from storage.sweep import sweep
from storage.tables import ANSWERS, AUDIT
from tests.storage.worlds import World


def spent(call_id: str, group: str, micros: int, at: float = 0) -> LedgerRow:
    return LedgerRow(call_id, group, "rosa", "k", "completions_create", cost_micros=micros, at=at, user_label="a\x00")


async def test_the_ledger_takes_each_call_once(world: World) -> None:
    november = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    rows = [
        spent("a", "research", 5, november),
        spent("b", "lab", 7, november + 1),
        spent("c", "sales", 11, november),
        spent("d", "research", 100, november - 1),
    ]
    async with world.database.write() as tx:
        assert await ledger.record(tx, rows) == 4
        assert await ledger.record(tx, [*rows[:2], spent("e", "partner", 2**40, november)]) == 1
        assert await ledger.record(tx, []) == 0
    async with world.database.read() as tx:
        found = await ledger.spent_this_month(tx, ["acme", "research", "lab", "platform"], now=november + 86_400)
        assert found == {"acme": 23, "research": 12, "lab": 7, "platform": 0}
        assert await ledger.spent_this_month(tx, ["partner"], now=november) == {"partner": 2**40}
        assert await ledger.spent_this_month(tx, ["acme"], now=november - 1) == {"acme": 123}
    assert ledger.micros(0.000_001_4) == 1


async def test_audit_entries_with_a_known_id_are_not_repeated(database: Database) -> None:
    actor = Actor("rosa", "k", "acme", None, "corr")
    entries = [Entry(actor, "completions_create", "refused", reason="no permission", id="call-1")]
    async with database.write() as tx:
        assert await audit.append(tx, entries) == 1
        assert await audit.append(tx, [*entries, Entry(actor, "products_get")]) == 1
    async with database.read() as tx:
        rows = (await tx.execute(select(AUDIT).order_by(AUDIT.c.seq))).all()
    assert [(row.operation, row.decision, row.correlation_id) for row in rows] == [
        ("completions_create", "refused", "corr"),
        ("products_get", "allowed", "corr"),
    ]


async def test_answers_are_sealed_and_end(database: Database) -> None:
    kept = Answers(database, b"k" * 32)
    await kept.put("a", {"text": "first"}, now=0)
    await kept.put("a", {"text": "secret ü"}, now=0)
    assert await kept.get("a", now=answers.LIFETIME - 1) == {"text": "secret ü"}
    async with database.read() as tx:
        assert b"secret" not in bytes(await tx.scalar(select(ANSWERS.c.sealed)) or b"secret")
    for call_id, now in (("a", answers.LIFETIME), ("b", 0)):
        with pytest.raises(CohortError, match="Make the call again"):
            await kept.get(call_id, now=now)


async def test_jobs_are_their_callers_and_the_administrators(world: World) -> None:
    async with world.database.write() as tx:
        await jobs.create(tx, NewJob("j", "products", "lena", "lab", "lab", total=10))
        await jobs.create(tx, NewJob("j", "documents", "sam", "sales", "sales"))
        await jobs.update(tx, "j", status="running", progress=Progress(done=4, total=10))
    bodies = set[str]()
    for user, sees in [("lena", True), ("rosa", True), ("root", True), ("both", False), ("sam", False), ("pat", False)]:
        principal = await world.principal(user)
        async with world.database.read() as tx:
            if sees:
                found = await jobs.get(tx, principal, "j")
                assert found == JobOutput(job_id="j", status="running", progress=Progress(done=4, total=10))
                continue
            for job in ("j", "absent"):
                with pytest.raises(CohortError) as refusal:
                    await jobs.get(tx, principal, job)
                bodies.add(refusal.value.body().model_dump_json())
    assert len(bodies) == 1


async def test_a_job_is_hidden_from_its_caller_outside_its_target_group(world: World) -> None:
    both = {"sales": "j", "research": "k"}
    async with world.database.write() as tx:
        for group, job in both.items():
            await jobs.create(tx, NewJob(job, "products", "both", "sales", group))
    for context in (None, "sales", "research"):
        principal = await world.principal("both", **({"context": context} if context else {}))
        async with world.database.read() as tx:
            for group, job in both.items():
                if context in (None, group):
                    assert (await jobs.get(tx, principal, job)).job_id == job
                    continue
                with pytest.raises(CohortError, match="no such job"):
                    await jobs.get(tx, principal, job)
    root = await world.principal("root")
    async with world.database.read() as tx:
        assert (await jobs.get(tx, root, "k")).job_id == "k", "administrators go by the group that pays"


async def test_a_jobs_end_is_kept(world: World) -> None:
    counts = IngestCounts(accepted=3, rejected=1, rejects=(Reject(line=2, reason="no title"),))
    error = ErrorBody(code=ErrorCode.INVALID_ARGUMENT, message="The upload ended early.")
    lena = await world.principal("lena")
    async with world.database.write() as tx:
        await jobs.create(tx, NewJob("j", "products", "lena", "lab", "lab"), now=0)
        await jobs.update(tx, "j", status="running", result=counts, now=1)
        await jobs.update(tx, "j", status="failed", error=error, now=2)
        found = await jobs.get(tx, lena, "j", now=3)
        assert (found.status, found.result, found.error) == ("failed", counts, error)
        with pytest.raises(CohortError, match="no such job"):
            await jobs.get(tx, lena, "j", now=2 + jobs.LIFETIME)


async def test_a_job_ends_once(world: World) -> None:
    lena = await world.principal("lena")
    async with world.database.write() as tx:
        await jobs.create(tx, NewJob("j", "products", "lena", "lab", "lab"))
        assert await jobs.update(tx, "j", status="running", progress=Progress(done=4, total=10))
        assert await jobs.update(tx, "j", status="running", progress=Progress(done=2, total=10))
        assert (await jobs.get(tx, lena, "j")).progress.done == 4, "a step that is run again takes nothing back"
        assert await jobs.update(tx, "j", status="cancelled")
        assert not await jobs.update(tx, "j", status="running", progress=Progress(done=8, total=10))
        assert not await jobs.update(tx, "j", status="completed")
        assert not await jobs.update(tx, "unknown", status="running")
        found = await jobs.get(tx, lena, "j")
    assert (found.status, found.progress.done) == ("cancelled", 4)


async def test_the_sweep_takes_the_rows_of_ingestions_that_run_no_more(database: Database) -> None:
    async with database.write() as tx:
        for job in ("queued", "running", "failed", "missing"):
            await ingest_rows.record(tx, job, {"lamp": Dealt(1, "accepted")})
            if job != "missing":
                await jobs.create(tx, NewJob(job, "products", "lena", "lab", "lab"), now=0)
        await jobs.update(tx, "running", status="running", now=0)
        await jobs.update(tx, "failed", status="failed", now=0)
        assert await sweep(tx, 1) == 2
        kept = [job for job in ("queued", "running", "failed", "missing") if await ingest_rows.known(tx, job, ["lamp"])]
    assert kept == ["queued", "running"]


async def test_the_sweep_takes_what_expired(database: Database) -> None:
    kept = Answers(database, b"k" * 32)
    await kept.put("a", {}, now=0)
    await kept.put("b", {}, now=100)
    async with database.write() as tx:
        await jobs.create(tx, NewJob("j", "products", "lena", "lab", "lab"), now=0)
        assert await sweep(tx, answers.LIFETIME) == 1
        assert await sweep(tx, jobs.LIFETIME) == 2
