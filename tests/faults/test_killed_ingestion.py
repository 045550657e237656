"""A worker that is killed in the middle of an ingestion costs time, and not one row."""

import asyncio
import base64
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy import Table, func, select
from temporalio.client import Client

from domain.calls import AdmittedCall, Call, Caller, CallLabels
from domain.ids import new_id
from domain.ingestion import IngestInput, IngestJob, JobOutput
from domain.policy import Level, Principal
from storage import groups, jobs, migrate, snapshots
from storage.jobs import NewJob
from storage.secrets import Secrets
from storage.sql import Database
from storage.tables import INGEST_ROWS, JOBS, PRODUCTS
from storage.uploads import Uploads
from storage.vectors import Vectors
from tests.support.waiting import eventually
from workflows.converter import data_converter
from workflows.ports import TASK_QUEUE

SECRET = bytes(range(32))
ROWS = 500


async def test_killed_and_complete(tmp_path: Path, temporal: str, redis_url: str) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'cohort.db'}"
    await migrate.upgrade(url)
    database, uploads = Database.open(url), Uploads(str(tmp_path / "uploads"))
    try:
        job = await accepted(database, uploads)
        client = await Client.connect(temporal, data_converter=data_converter(subkey("payloads")))
        running = await client.start_workflow(
            "Ingest",
            args=[job, None],
            id=f"ingest-{job.admitted.call.id}",
            task_queue=TASK_QUEUE,
            result_type=JobOutput,
        )
        worker = await started(tmp_path, temporal, redis_url)

        async def taken() -> bool:
            return await count(database, PRODUCTS) > 200

        await eventually(taken, seconds=90, what="the second slice is in SQL, and its copy under way")
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
        assert await count(database, PRODUCTS) < ROWS, "it was killed too late to show anything"
        worker = await started(tmp_path, temporal, redis_url)
        try:
            ended = await asyncio.wait_for(running.result(), 120)
        finally:
            worker.terminate()
            await worker.wait()
        assert ended.status == "completed"
        assert ended.result is not None
        assert (ended.result.accepted, ended.result.unchanged, ended.result.rejected) == (ROWS, 0, 0)
        vectors = await Vectors.open(str(tmp_path / "vectors"))
        assert await count(database, PRODUCTS) == await vectors.count("products") == ROWS
        assert await count(database, INGEST_ROWS) == 0
        async with database.read() as tx:
            [row] = (await tx.execute(select(JOBS))).all()
        assert (row.status, row.done) == ("completed", row.total)
    finally:
        await database.close()


async def accepted(database: Database, uploads: Uploads) -> IngestJob:
    """A group, its user, his upload, and the job of a call that was accepted."""
    async with database.write() as tx:
        await groups.create_group(tx, "shop", name="Shop", permissions=["products:write"])
        await groups.create_user(tx, "kim", primary_group="shop")
        key = await groups.create_key(tx, "kim", pepper=subkey("api-keys"))
    upload = await uploads.of("kim").write(lines())
    call = Call(
        id=new_id(),
        operation="products_ingest",
        permission="products:write",
        caller=Caller(key_id=key.id, user_id="kim"),
        labels=CallLabels(request_id="r", correlation_id="c"),
        input={},
        deadline=time.time() + 60,
    )
    async with database.write() as tx:
        [principal] = await snapshots.take(tx, [call.caller])
        assert isinstance(principal, Principal)
        await jobs.create(tx, NewJob(call.id, "products_ingest", "kim", "shop", "shop", total=upload.bytes))
    return IngestJob(
        admitted=AdmittedCall(call=call, principal=principal),
        kind="products",
        input=IngestInput(upload_id=upload.id, group="shop", access_level=Level.INTERNAL),
    )


async def lines() -> AsyncIterator[bytes]:
    """Rows long enough that a slice takes the model a while."""
    for number in range(ROWS):
        row = {"id": f"p{number}", "title": f"Lamp {number}", "category": "Lighting", "price": number}
        yield json.dumps({**row, "description": "A lamp for long evenings by the lake. " * 4}).encode() + b"\n"


async def started(folder: Path, temporal: str, redis_url: str) -> asyncio.subprocess.Process:
    """A worker process that polls."""
    settings = {
        "COHORT_HOME": str(folder),
        "COHORT_TEMPORAL_ADDRESS": temporal,
        "COHORT_REDIS_URL": redis_url,
        "COHORT_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'cohort.db'}",
        "COHORT_VECTORS_URL": str(folder / "vectors"),
        "COHORT_UPLOADS_URL": str(folder / "uploads"),
        "COHORT_SECRET_KEY": base64.b64encode(SECRET).decode(),
    }
    usual = {name: value for name, value in os.environ.items() if not name.startswith("COHORT_")}
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "activities.worker", "--roles", "workflows"),
        env=usual | settings,
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdout is not None
    assert await asyncio.wait_for(worker.stdout.readline(), 60) == b"cohort-worker ready\n"
    return worker


async def count(database: Database, table: Table) -> int:
    async with database.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(table))).scalar_one())


def subkey(purpose: str) -> bytes:
    return Secrets(SECRET).key(purpose)
