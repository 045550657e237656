"""A worker that is killed in the middle of administrative calls costs time: each change is made once, and answered."""

import asyncio
import signal
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from temporalio.client import Client

from domain.calls import BatchOutcome, Call, CallBatch, Caller, CallLabels
from domain.ids import new_id
from domain.policy import Level
from storage import groups
from storage.answers import Answers
from storage.secrets import Secrets
from storage.sql import Database
from storage.tables import AUDIT, GROUPS, KEYS, OUTBOX
from tests.support.cluster import SECRET, cluster
from tests.support.postgres import Postgres
from tests.support.waiting import eventually
from workflows.converter import data_converter
from workflows.ports import TASK_QUEUE, TASK_TIMEOUT

CALLS = 60


async def test_killed_between_changes_and_their_answers(
    tmp_path: Path, temporal: str, redis_url: str, postgres: Postgres
) -> None:
    url = postgres.fresh_database()
    async with cluster(
        tmp_path, temporal=temporal, redis_url=redis_url, database_url=url, doors=0, workers=1
    ) as running:
        async with running.database.write() as tx:
            await groups.create_group(
                tx, "platform", name="Platform", access_level=Level.CONFIDENTIAL, admin_level=3, permissions=["*:*"]
            )
            await groups.create_user(tx, "root", primary_group="platform")
            key = (await groups.create_key(tx, "root", pepper=running.pepper)).id
        batch = CallBatch(family="administration", lane="platform", calls=tuple(calls(key)))
        client = await Client.connect(temporal, data_converter=data_converter(Secrets(SECRET).key("payloads")))
        handle = await client.start_workflow(
            "Calls",
            batch,
            id=f"calls-platform-{batch.calls[0].id}",
            task_queue=TASK_QUEUE,
            task_timeout=TASK_TIMEOUT,
            result_type=BatchOutcome,
        )
        first = running.workers[0]

        async def under_way() -> bool:
            return await count(running.database, OUTBOX) >= 5

        await eventually(under_way, seconds=60, what="some of the changes are made")
        first.send_signal(signal.SIGKILL)
        await asyncio.to_thread(first.wait)
        made = await count(running.database, OUTBOX)
        assert made < CALLS, "it was killed too late to show anything"
        await running.start_worker()
        outcomes = (await asyncio.wait_for(handle.result(), 90)).outcomes
        assert [one.error for one in outcomes] == [None] * CALLS
        assert await count(running.database, OUTBOX) == CALLS
        assert await count(running.database, AUDIT, AUDIT.c.id.in_([call.id for call in batch.calls])) == CALLS
        assert await count(running.database, GROUPS, GROUPS.c.id.like("novel-%")) == CALLS // 2
        assert await count(running.database, KEYS) == CALLS // 2 + 1
        answers = Answers(running.database, Secrets(SECRET).key("answers"))
        tokens = {(await answers.get(one.call_id))["token"] for one in outcomes if one.stored}
        assert len(tokens) == CALLS // 2


def calls(key: str) -> list[Call]:
    """Groups and keys by turns."""
    asked: list[tuple[str, str, dict[str, Any]]] = []
    for number in range(CALLS // 2):
        asked.append(("groups_create", "groups:admin", {"id": f"novel-{number}", "name": "Novel"}))
        asked.append(("keys_create", "keys:admin", {"name": f"novel-{number}"}))
    return [
        Call(
            id=new_id(),
            operation=operation,
            permission=permission,
            caller=Caller(key_id=key, user_id="root"),
            labels=CallLabels(request_id="r", correlation_id="c"),
            input=given,
            # Nobody waits as long; an answer that comes late is an answer all the same.
            deadline=4_000_000_000.0,
        )
        for operation, permission, given in asked
    ]


async def count(database: Database, table: Any, *where: Any) -> int:
    async with database.read() as tx:
        return await tx.scalar(select(func.count()).select_from(table).where(*where)) or 0
