"""Ingestion from the accepted call to the closed job, on real servers."""

import asyncio
import functools
import json
import os
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from activities.retrieve_documents import RetrieveDocuments
from activities.worker import keep_swept
from domain.calls import BatchOutcome, CallBatch, Outcome
from domain.completions import CompletionInput, CompletionJob
from domain.errors import ErrorCode
from domain.ingestion import IngestCounts, JobOutput
from domain.policy import Level, Principal
from domain.products import ProductRow
from storage import documents, groups, products, snapshots
from storage.documents import NewDocument
from storage.ingestion import UNSEEN
from storage.tables import DOCUMENTS, INGEST_ROWS, PRODUCTS
from storage.upload_lines import read_slice
from storage.uploads import MAX_AGE
from storage.vector_rows import Ref
from tests.support.waiting import eventually
from tests.support.world import World, world
from workflows.ports import TASK_QUEUE, TASK_TIMEOUT

WRITES = ("products:read", "products:write", "documents:write", "completions:create")


@dataclass
class Shop:
    """A world with a shop that takes uploads in."""

    world: World
    folder: Path

    async def calls(self, family: str, *calls: Any) -> list[Outcome]:
        batch = CallBatch(family=family, lane="shop", calls=calls)
        running = await self.world.client.start_workflow(
            "Calls",
            batch,
            id=f"calls-{calls[0].id}",
            task_queue=TASK_QUEUE,
            task_timeout=TASK_TIMEOUT,
            result_type=BatchOutcome,
        )
        return list((await asyncio.wait_for(running.result(), 200)).outcomes)

    async def accept(
        self, lines: Sequence[object], *, user: str = "kim", kind: str = "products", group: str = "shop", **more: Any
    ) -> Outcome:
        upload = more.pop("upload", None) or await self.world.upload(more.pop("sender", user), file_of(lines))
        call = self.world.call(
            user,
            f"{kind}_ingest",
            {"upload_id": upload, "group": group, "access_level": more.pop("level", None)},
            permission=f"{kind}:write",
            seconds=120,
            **more,
        )
        [outcome] = await self.calls("ingestion", call)
        return outcome

    async def ended(self, outcome: Outcome) -> JobOutput:
        """The job of an accepted ingestion as its workflow ended it."""
        assert outcome.error is None, outcome.error
        job = JobOutput.model_validate(outcome.data)
        assert job.status == "queued"
        running = self.world.client.get_workflow_handle(f"ingest-{job.job_id}", result_type=JobOutput)
        return await asyncio.wait_for(running.result(), 200)

    async def closed(self, outcome: Outcome, user: str = "kim") -> JobOutput:
        """The job of an accepted ingestion, once it has ended, the same from its workflow and from `jobs_get`."""
        ended = await self.ended(outcome)
        assert await self.job(user, ended.job_id) == ended
        return ended

    async def ingest(self, lines: Sequence[object], **more: Any) -> JobOutput:
        return await self.closed(await self.accept(lines, **more), more.get("user", "kim"))

    async def job(self, user: str, id: str) -> JobOutput | ErrorCode:
        [outcome] = await self.calls("jobs", self.world.call(user, "jobs_get", {"id": id}, seconds=120))
        return JobOutput.model_validate(outcome.data) if outcome.error is None else outcome.error.code

    async def found(self, user: str, query: str, **more: Any) -> list[str]:
        call = self.world.call(user, "products_search", {"query": query, **more}, seconds=120)
        [outcome] = await self.calls("products", call)
        assert outcome.data is not None, outcome.error
        assert outcome.pagination is not None
        assert outcome.pagination.total >= len(outcome.data["items"])
        return [item["id"] for item in outcome.data["items"]]

    async def passages(self, user: str, question: str) -> list[tuple[str, str]]:
        """What retrieval gives a completion of this user's: document ids and texts."""
        parts = self.world.parts
        call = self.world.call(user, "completions_create", CompletionInput(prompt=question).model_dump(mode="json"))
        async with parts.database.read() as tx:
            [principal] = await snapshots.take(tx, [call.caller])
        assert isinstance(principal, Principal)
        job = CompletionJob.model_validate({"admitted": {"call": call, "principal": principal}, "cache_key": None})
        sources = await RetrieveDocuments(parts.database, parts.vectors, parts.embedder).run(job)
        return [(source.id, source.text) for source in sources.items]

    async def put(self, owner: str, row: dict[str, Any]) -> None:
        """Store a product as a colleague who may see it would have."""
        async with self.world.parts.database.write() as tx:
            await products.upsert(tx, owner, [ProductRow.model_validate(row)], default_level=Level.INTERNAL)

    async def get(self, user: str, id: str) -> dict[str, Any] | ErrorCode | None:
        [outcome] = await self.calls("products", self.world.call(user, "products_get", {"id": id}, seconds=120))
        return outcome.error.code if outcome.error is not None else outcome.data

    async def titles(self) -> dict[str, str]:
        """Every product that is stored, whoever may see it."""
        async with self.world.parts.database.read() as tx:
            return {row.id: row.title for row in await tx.execute(select(PRODUCTS.c.id, PRODUCTS.c.title))}

    async def rows(self, table: Any) -> int:
        async with self.world.parts.database.read() as tx:
            return int((await tx.execute(select(func.count()).select_from(table))).scalar_one())


def file_of(lines: Sequence[object]) -> bytes:
    """A file of JSON lines; bytes and strings stand as they are."""
    parts = [
        line if isinstance(line, bytes) else line.encode() if isinstance(line, str) else json.dumps(line).encode()
        for line in lines
    ]
    return b"\n".join(parts)


def lamp(id: str, **columns: object) -> dict[str, object]:
    return {"id": id, "title": f"Lamp {id}", "category": "Lighting", "price": 10, **columns}


def document(name: str, text: str, **front: str) -> dict[str, str]:
    head = "".join(f"{key}: {value}\n" for key, value in front.items())
    return {"name": name, "text": f"---\n{head}---\n{text}" if front else text}


@pytest_asyncio.fixture
async def shop(tmp_path: Path, temporal: str, redis_url: str) -> AsyncGenerator[Shop]:
    """Kim writes for the shop, which may not publish; Max publishes for the market; Pip may only read."""
    async with world(tmp_path, temporal=temporal, redis_url=redis_url, routes=[]) as small:
        pepper = small.parts.secrets.key("api-keys")
        async with small.parts.database.write() as tx:
            await groups.create_group(tx, "shop", name="Shop", permissions=WRITES)
            await groups.create_group(
                tx, "market", name="Market", access_level=Level.PUBLIC, permissions=[*WRITES, "objects:publish"]
            )
            await groups.create_group(tx, "stall", name="Stall", access_level=Level.PUBLIC, permissions=WRITES)
            await groups.create_group(tx, "readers", name="Readers", permissions=["products:read"])
            homes = {"kim": "shop", "max": "market", "ola": "stall", "pip": "readers"}
            for user, group in homes.items():
                await groups.create_user(tx, user, primary_group=group)
            await groups.add_member(tx, "kim", "readers")
            keys = {user: (await groups.create_key(tx, user, pepper=pepper)).id for user in homes}
        small.keys = {**small.keys, **keys}
        yield Shop(small, tmp_path)


async def test_good_rows_are_taken_and_bad_ones_named(shop: Shop) -> None:
    job = await shop.ingest(
        [
            lamp("a", sku="SKU-1"),
            '{"id": "b", ',
            lamp("a", title="Again"),
            "",
            lamp("c", price=-1),
            lamp("d", prise=1),
            lamp("e", access_level="confidential"),
            lamp("f", access_level="public"),
            lamp("g", allowed_groups=["partner"]),
            lamp("h", restricted_groups=["nowhere"]),
            lamp("i", allowed_groups=["readers"], attributes={"colour": "red"}),
            b'{"id": "j\xff"}',
            {"id": "never-there", "deleted": True},
        ]
    )
    assert job.status == "completed"
    assert job.error is None
    assert job.progress.done == job.progress.total > 0
    assert job.result is not None
    assert (job.result.accepted, job.result.unchanged, job.result.deleted, job.result.rejected) == (2, 1, 0, 9)
    told = [(reject.line, reject.id, reject.field) for reject in job.result.rejects]
    assert told == [
        (2, None, None),
        (3, "a", "id"),
        (5, "c", "price"),
        (6, "d", "prise"),
        (7, "e", "access_level"),
        (8, "f", "access_level"),
        (9, "g", "allowed_groups"),
        (10, "h", "restricted_groups"),
        (12, None, None),
    ]
    reasons = {reject.line: reject.reason for reject in job.result.rejects}
    assert reasons[3] == "line 1 has this id already: the first row of an id counts"
    assert reasons[9].replace("partner", "") == reasons[10].replace("nowhere", ""), "existence must not show"
    assert await shop.found("kim", "lamp") == ["a", "i"]
    assert (await shop.found("kim", "SKU-1"))[0] == "a"
    assert await shop.found("pip", "lamp") == ["i"], "allowed for the readers"
    assert await shop.found("max", "lamp") == []
    assert await shop.rows(INGEST_ROWS) == 0
    details = await shop.world.details(f"ingest-{job.job_id}")
    assert "products of shop" in details
    assert "2 accepted, 1 unchanged, 0 deleted, 9 rejected" in details
    assert "Lamp" not in details
    assert list((shop.folder / "uploads").iterdir()) == [], "the upload is gone"


async def test_a_second_run_changes_only_what_changed(shop: Shop) -> None:
    rows = [lamp(f"p{number}") for number in range(5)]
    first = await shop.ingest(rows)
    assert first.result is not None
    assert first.result.accepted == 5
    rows[1] = lamp("p1", title="Lamp of another name", price=11)
    again = await shop.ingest([*rows[:3], {"id": "p3", "deleted": True}, {"id": "p4", "deleted": True}, lamp("p4")])
    assert again.result is not None
    assert (again.result.accepted, again.result.unchanged, again.result.deleted) == (1, 2, 2)
    assert [reject.line for reject in again.result.rejects] == [6]
    assert sorted(await shop.found("kim", "lamp")) == ["p0", "p1", "p2"]
    assert (await shop.found("kim", "another name"))[0] == "p1"
    assert await shop.world.parts.vectors.count("products") == 3
    assert await shop.ingest([lamp("p3")]) is not None
    assert sorted(await shop.found("kim", "lamp")) == ["p0", "p1", "p2", "p3"]


async def test_documents_are_found_by_passages(shop: Shop) -> None:
    fire = "# Fire\n\nIn case of fire leave by the green door and meet at the oak."
    files = [
        document("safety/fire.md", fire, title="Fire drill", source="House rules"),
        document("lunch.md", "Lunch is at noon. Soup on Mondays."),
        document("secret.md", "The green door has the code 4711.", access_level="confidential"),
        {"name": "broken.md", "text": "---\ntitle: [\n---\nx"},
    ]
    job = await shop.ingest(files, kind="documents")
    assert job.result is not None
    assert (job.result.accepted, job.result.rejected) == (2, 2)
    assert [(reject.line, reject.field) for reject in job.result.rejects] == [(3, "access_level"), (4, "text")]
    [(first, text), *_] = await shop.passages("kim", "where do we meet when it burns?")
    assert (first, text) == (
        "safety-fire",
        "Fire drill > Fire\n\nIn case of fire leave by the green door and meet at the oak.",
    )
    assert await shop.passages("pip", "where do we meet when it burns?") == []
    moved = document("safety/fire.md", fire.replace("oak", "pond"), title="Fire drill", source="House rules")
    again = await shop.ingest([moved, files[1], {"name": "lunch.md", "deleted": True}], kind="documents")
    assert again.result is not None
    assert (again.result.accepted, again.result.unchanged, again.result.rejected) == (1, 1, 1)
    found = await shop.passages("kim", "where do we meet when it burns?")
    assert "pond" in found[0][1]
    assert not any("oak" in text for _, text in found)
    gone = await shop.ingest([{"name": "lunch.md", "deleted": True}], kind="documents")
    assert gone.result is not None
    assert gone.result.deleted == 1
    assert [id for id, _ in await shop.passages("kim", "when is lunch?")] == ["safety-fire"]


@pytest.mark.parametrize(
    ("user", "group", "more", "code"),
    [
        ("kim", "market", {}, ErrorCode.FORBIDDEN),
        ("kim", "nowhere", {}, ErrorCode.FORBIDDEN),
        ("kim", "readers", {}, ErrorCode.FORBIDDEN),
        ("pip", "readers", {}, ErrorCode.FORBIDDEN),
        ("kim", "shop", {"level": "public"}, ErrorCode.FORBIDDEN),
        ("kim", "shop", {"level": "confidential"}, ErrorCode.INVALID_ARGUMENT),
        ("kim", "shop", {"sender": "pip"}, ErrorCode.NOT_FOUND),
        ("kim", "shop", {"upload": "0" * 20}, ErrorCode.NOT_FOUND),
        ("kim", "shop", {"level": "secret"}, ErrorCode.INVALID_ARGUMENT),
        ("kim", "shop", {"upload": "../../etc/passwd"}, ErrorCode.INVALID_ARGUMENT),
    ],
)
async def test_what_the_uploader_may_not_do(
    shop: Shop, user: str, group: str, more: dict[str, Any], code: ErrorCode
) -> None:
    outcome = await shop.accept([lamp("a")], user=user, group=group, **more)
    assert outcome.error is not None
    assert outcome.error.code is code
    assert group not in outcome.error.message or group == "shop"
    assert await shop.rows(PRODUCTS) == 0


async def test_levels_that_nobody_asked_for(shop: Shop) -> None:
    for user, group in (("max", "market"), ("ola", "stall"), ("kim", "shop")):
        await shop.ingest([lamp(f"of-{user}")], user=user, group=group)
    async with shop.world.parts.database.read() as tx:
        levels = {row.id: row.access_level for row in await tx.execute(select(PRODUCTS.c.id, PRODUCTS.c.access_level))}
    assert levels == {"of-max": "public", "of-ola": "internal", "of-kim": "internal"}


async def test_a_slice_that_is_torn_is_run_again_without_a_trace(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times the vector copy fails after SQL was written, once in the middle of writing it."""
    embedder, vectors = shop.world.parts.embedder, shop.world.parts.vectors
    embed, upsert = embedder.embed, vectors.upsert_products
    failures = iter([True, True, False, True, False])

    async def flaky(texts: Sequence[str]) -> list[list[float]]:
        if next(failures, False):
            raise ConnectionError("torn before the copy")
        return await embed(texts)

    torn = iter([True])

    async def half(entries: Sequence[Any]) -> None:
        if next(torn, False):
            await upsert(entries[: len(entries) // 2])
            raise ConnectionError("torn in the middle of the copy")
        await upsert(entries)

    monkeypatch.setattr(embedder, "embed", flaky)
    monkeypatch.setattr(vectors, "upsert_products", half)
    job = await shop.ingest([*(lamp(f"p{number:03}") for number in range(250)), lamp("p000"), lamp("x", price=-1)])
    assert job.result is not None
    assert (job.result.accepted, job.result.unchanged, job.result.rejected) == (250, 0, 2)
    assert await shop.rows(PRODUCTS) == await vectors.count("products") == 250
    assert sorted(await shop.found("kim", "lamp", limit=100))[:1] == ["p000"]


async def test_the_worker_sweeps_uploads_that_nobody_takes_in(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a running job takes in stays, however old it is; a store that is away for a while stops nothing."""
    parts, folder = shop.world.parts, shop.folder / "uploads"
    embed, expire = parts.embedder.embed, parts.uploads.expire
    away, gate = iter([True]), asyncio.Event()

    async def held(texts: Sequence[str]) -> list[list[float]]:
        await gate.wait()
        return await embed(texts)

    async def flaky(**more: Any) -> int:
        if next(away, False):
            raise OSError("the store is away")
        return await expire(**more)

    monkeypatch.setattr(parts.embedder, "embed", held)
    monkeypatch.setattr(parts.uploads, "expire", flaky)
    running = await shop.accept([lamp("a")])
    forgotten = await shop.world.upload("kim", b"{}")
    day_ago = time.time() - MAX_AGE - 60
    for path in folder.iterdir():
        os.utime(path, (day_ago, day_ago))
    late = await shop.accept([], upload=forgotten)
    assert late.error is not None
    assert late.error.code is ErrorCode.NOT_FOUND, "it may be swept at any moment"
    for path in folder.iterdir():
        os.utime(path, (1, 1))

    async def swept() -> bool:
        return len(list(folder.iterdir())) == 1

    sweeping = asyncio.create_task(keep_swept(parts, 0.05))
    await eventually(swept, seconds=10, what="the forgotten upload is gone")
    gate.set()
    job = await shop.closed(running)
    sweeping.cancel()
    assert job.result is not None
    assert job.result.accepted == 1
    assert list(folder.iterdir()) == []


async def test_a_missing_copy_is_mended_by_the_same_file(shop: Shop) -> None:
    rows = [lamp("a"), lamp("b")]
    await shop.ingest(rows)
    await shop.world.parts.vectors.delete_products([Ref("shop", "a")])
    assert await shop.found("kim", "lamp") == ["b"]
    again = await shop.ingest(rows)
    assert again.result is not None
    assert again.result.unchanged == 2
    assert await shop.found("kim", "lamp") == ["a", "b"]


async def test_rights_that_end_half_way_end_the_ingestion(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder, database = shop.world.parts.embedder, shop.world.parts.database
    embed = embedder.embed

    async def and_leave(texts: Sequence[str]) -> list[list[float]]:
        async with database.write() as tx:
            await groups.remove_member(tx, "kim", "shop")
        return await embed(texts)

    monkeypatch.setattr(embedder, "embed", and_leave)
    job = await shop.ended(await shop.accept([lamp(f"p{number:03}") for number in range(450)]))
    assert await shop.job("kim", job.job_id) is ErrorCode.NOT_FOUND, "no longer about a group of his"
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.code is ErrorCode.FORBIDDEN
    assert job.result is not None
    assert job.result.accepted == 200
    assert job.progress.done < job.progress.total
    assert await shop.rows(PRODUCTS) == 200
    assert await shop.rows(INGEST_ROWS) == 0


async def test_two_ingestions_of_one_file_leave_each_row_once(shop: Shop) -> None:
    rows = [lamp(f"p{number:03}") for number in range(300)]
    accepted = await asyncio.gather(*(shop.accept(rows) for _ in range(3)))
    jobs = await asyncio.gather(*(shop.closed(outcome) for outcome in accepted))
    counts = [job.result for job in jobs if job.result is not None]
    assert sum(count.accepted for count in counts) == 300
    assert sum(count.unchanged for count in counts) == 600
    assert await shop.rows(PRODUCTS) == await shop.world.parts.vectors.count("products") == 300


async def test_a_long_ingestion_goes_on_with_a_fresh_history(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.ingest_slice.read_slice", functools.partial(read_slice, rows=1))
    rows = [lamp("a") for _ in range(205)]
    job = await shop.ingest(rows)
    assert job.result is not None
    assert (job.result.accepted, job.result.rejected) == (1, 204)
    assert [reject.line for reject in job.result.rejects] == list(range(2, 206))
    handle = shop.world.client.get_workflow_handle(f"ingest-{job.job_id}")
    assert (await handle.describe()).history_length < 100


async def test_an_upload_that_nothing_was_taken_of_may_be_started_again(shop: Shop) -> None:
    upload = await shop.world.upload("kim", file_of([lamp("a"), lamp("b")]))
    wrong = await shop.ingest([], upload=upload, kind="documents")
    assert wrong.result is not None
    assert (wrong.result.accepted, wrong.result.rejected) == (0, 2)
    right = await shop.ingest([], upload=upload)
    assert right.result is not None
    assert right.result.accepted == 2
    gone = await shop.accept([], upload=upload)
    assert gone.error is not None
    assert gone.error.code is ErrorCode.NOT_FOUND
    assert "send the file again" in gone.error.message
    assert "Search or list" not in gone.error.message


async def test_jobs_are_their_callers(shop: Shop) -> None:
    job = await shop.ingest([lamp("a")])
    for user, id in (("pip", job.job_id), ("max", job.job_id), ("kim", "unknown"), ("kim", "x" * 64)):
        assert await shop.job(user, id) is ErrorCode.NOT_FOUND


async def test_a_job_is_as_hidden_from_its_caller_as_its_group(shop: Shop) -> None:
    """A result names rows of the shop, so it is read with the shop's sight or not at all."""
    job = await shop.ingest([lamp("a"), lamp("very-secret", price=-1)])
    database, pepper = shop.world.parts.database, shop.world.parts.secrets.key("api-keys")

    async def told(id: str, context: str | None = None) -> Outcome:
        [outcome] = await shop.calls("jobs", shop.world.call("kim", "jobs_get", {"id": id}, context=context))
        return outcome

    async with database.write() as tx:
        bound = await groups.create_key(tx, "kim", pepper=pepper, groups=["readers"])
    absent = (await told("unknown")).error
    assert absent is not None
    assert absent.code is ErrorCode.NOT_FOUND
    assert (await told(job.job_id, context="shop")).data == (await told(job.job_id)).data
    assert (await told(job.job_id, context="readers")).error == absent
    whole = shop.world.keys
    shop.world.keys = {**whole, "kim": bound.id}
    assert (await told(job.job_id)).error == absent
    shop.world.keys = whole
    async with database.write() as tx:
        await groups.remove_member(tx, "kim", "shop")
    assert (await told(job.job_id)).error == absent


@pytest.mark.parametrize(
    "access",
    [
        {"restricted_groups": ["readers"]},
        {"sensitive": True},
        {"sensitive": True, "allowed_groups": ["shop"], "access_level": "confidential"},
    ],
    ids=["restricted", "sensitive", "above"],
)
async def test_what_the_uploader_may_not_see_is_deleted_like_what_is_not_there(
    shop: Shop, access: dict[str, Any]
) -> None:
    await shop.put("shop", lamp("hidden", **access))
    assert await shop.get("kim", "hidden") is ErrorCode.NOT_FOUND

    job = await shop.ingest([{"id": "hidden", "deleted": True}, {"id": "absent", "deleted": True}])

    assert job.result == IngestCounts(unchanged=2)
    assert await shop.titles() == {"hidden": "Lamp hidden"}


async def test_what_the_uploader_may_not_see_is_not_replaced(shop: Shop) -> None:
    """The reason is that of a row which would hide itself, so it tells of no object."""
    await shop.put("shop", lamp("hidden", restricted_groups=["readers"]))

    rows = [lamp("hidden"), lamp("own", restricted_groups=["readers"]), lamp("nobodys", sensitive=True), lamp("free")]
    jobs = [await shop.ingest(rows), await shop.ingest([*rows[:3], {"id": "hidden", "deleted": True}])]

    for job in jobs:
        assert job.result is not None
        assert [(one.line, one.field) for one in job.result.rejects] == [(1, None), (2, None), (3, None)]
        assert {one.reason for one in job.result.rejects} == {UNSEEN}
    assert await shop.titles() == {"hidden": "Lamp hidden", "free": "Lamp free"}


async def test_documents_that_the_uploader_may_not_see_stay(shop: Shop) -> None:
    text = "The green door has the code 4711."
    async with shop.world.parts.database.write() as tx:
        row = NewDocument("plan", "Plan", "plan.md", text, Level.INTERNAL, restricted_groups=frozenset({"readers"}))
        await documents.upsert(tx, "shop", [row])

    gone = await shop.ingest([{"name": "plan.md", "deleted": True}], kind="documents")
    new = await shop.ingest([document("plan.md", "Nothing to see.")], kind="documents")

    assert gone.result == IngestCounts(unchanged=1)
    assert new.result is not None
    assert [one.reason for one in new.result.rejects] == [UNSEEN]
    async with shop.world.parts.database.read() as tx:
        assert (await tx.execute(select(DOCUMENTS.c.text))).scalars().all() == [text]


async def test_an_empty_upload_and_one_of_blank_lines(shop: Shop) -> None:
    job = await shop.ingest(["", "", "  "])
    assert job.status == "completed"
    assert job.result is not None
    assert (job.result.accepted, job.result.rejected) == (0, 0)
    assert await shop.rows(DOCUMENTS) == 0
