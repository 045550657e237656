"""Records one history a workflow and outcome, as real executions leave them: `python -m tests.workflows.histories`.

The histories are committed, sealed under a fixed test key, and every one is replayed with the workflows of today: a
change that old executions could not be replayed with does not pass. Run this again only where such a change is meant
(with `workflow.patched`, or before a first release), and keep the old files where executions of old may still run.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import text

from domain.calls import Call
from tests.support.executions import cancelled, kept_trying
from tests.support.provider import Provider, provider_server
from tests.support.servers import redis_server, temporal_server
from tests.support.world import World, route, world

FOLDER = Path(__file__).parent / "histories"

Scene = Callable[[World], Awaitable[list[str]]]
"""Plays something and gives the ids of the executions to keep, in the order of the scene's names."""


async def _batch(acme: World, *calls: Call) -> list[str]:
    handle = await acme.start(calls)
    outcomes = (await handle.result()).outcomes
    deferred = [outcome.deferred for outcome in outcomes if outcome.deferred is not None]
    for outcome in outcomes:
        await acme.final(outcome)
    return [handle.id, *deferred]


async def _answered(acme: World) -> list[str]:
    await acme.add_document("acme", "charter", "The charter says that every lamp is blue.")
    return await _batch(acme, acme.ask("ada", "What says the charter?", retrieval={}, products={}))


async def _cached(acme: World) -> list[str]:
    await _batch(acme, acme.ask("ada", "Well?"))
    return await _batch(acme, acme.ask("ada", "Well?"), acme.ask("grace", "Well?"))


async def _mixed(acme: World) -> list[str]:
    return await _batch(
        acme,
        acme.ask("ada", "Well?"),
        acme.ask("mute", "Well?"),
        acme.ask("ada", "Well?", model="unheard-of"),
        acme.ask("grace", "Well?", idempotency_key="k"),
    )


async def _replayed(acme: World) -> list[str]:
    await _batch(acme, acme.ask("ada", "Well?", idempotency_key="k"))
    return await _batch(acme, acme.ask("ada", "Well?", idempotency_key="k"))


async def _reads(acme: World) -> list[str]:
    return await _batch(acme, acme.call("ada", "groups_list"), acme.call("ada", "groups_permissions", {"id": "acme"}))


async def _fell_back(acme: World) -> list[str]:
    return (await _batch(acme, acme.ask("ada", "Well?", model="auto")))[1:]


async def _refused(acme: World) -> list[str]:
    return (await _batch(acme, acme.ask("ada", "Well?", model="status-400")))[1:]


async def _unavailable(acme: World) -> list[str]:
    return (await _batch(acme, acme.ask("ada", "Well?", model="junk")))[1:]


async def _too_late(acme: World) -> list[str]:
    return (await _batch(acme, acme.ask("ada", "Well?", model="hang", seconds=1)))[1:]


async def _retrieval_failed(acme: World) -> list[str]:
    await acme.add_document("acme", "charter", "The charter says that every lamp is blue.")
    async with acme.parts.database.write() as tx:
        await tx.execute(text("ALTER TABLE documents RENAME TO gone"))
    return (await _batch(acme, acme.ask("ada", "What says the charter?", retrieval={})))[1:]


async def _admission_failed(acme: World) -> list[str]:
    async with acme.parts.database.write() as tx:
        await tx.execute(text("ALTER TABLE keys RENAME TO gone"))
    return await _batch(acme, acme.call("ada", "groups_list"))


async def _family_failed(acme: World) -> list[str]:
    async with acme.parts.database.write() as tx:
        await tx.execute(text("ALTER TABLE jobs RENAME TO gone"))
    return await _batch(acme, acme.call("ada", "health_check"))


async def _settling_failed(acme: World) -> list[str]:
    async with acme.parts.database.write() as tx:
        await tx.execute(text("ALTER TABLE audit RENAME TO gone"))
    return await _batch(acme, acme.call("ada", "groups_list"))


@contextlib.asynccontextmanager
async def _without(acme: World, table: str) -> AsyncGenerator[None]:
    async with acme.parts.database.write() as tx:
        await tx.execute(text(f"ALTER TABLE {table} RENAME TO away"))
    yield
    async with acme.parts.database.write() as tx:
        await tx.execute(text(f"ALTER TABLE away RENAME TO {table}"))


async def _settled_late(acme: World) -> list[str]:
    """The database comes back after an operator has cancelled: the answer has been paid for."""
    call = acme.ask("ada", "Well?")
    async with _without(acme, "ledger"):
        [outcome] = await acme.batch(call)
        await kept_trying(acme.client, f"completion-{call.id}", "settle_completion")
        await cancelled(acme.client, f"completion-{call.id}")
    assert (await acme.final(outcome)).error is None
    return [f"completion-{call.id}"]


async def _cancelled(acme: World) -> list[str]:
    call = acme.ask("ada", "Well?", model="hang")
    [outcome] = await acme.batch(call)
    await cancelled(acme.client, f"completion-{call.id}")
    assert (await acme.final(outcome)).error is not None
    return [f"completion-{call.id}"]


async def _unknown_family(acme: World) -> list[str]:
    return await _batch(acme, acme.call("ada", "unheard_of"))


async def _ingested(acme: World) -> list[str]:
    rows = [{"id": f"lamp-{n}", "title": f"Lamp {n}", "category": "lamps", "price": n} for n in range(1, 4)]
    lines = [json.dumps(row) for row in [*rows, {"id": "x", "title": "", "category": "lamps", "price": -1}]]
    return await _ingest(acme, await acme.upload("ada", "\n".join([*lines, "{"]).encode()))


async def _ingest(acme: World, upload: str) -> list[str]:
    batch, ingest = await _accept(acme, upload)
    await acme.client.get_workflow_handle(ingest).result()
    return [batch, ingest]


async def _accept(acme: World, upload: str) -> tuple[str, str]:
    call = acme.call("ada", "products_ingest", {"upload_id": upload, "group": "acme-research"})
    handle = await acme.start([call])
    [outcome] = (await handle.result()).outcomes
    assert outcome.error is None, outcome.error
    return handle.id, f"ingest-{call.id}"


async def _ingestion_cancelled(acme: World) -> list[str]:
    upload = await acme.upload("ada", b'{"id": "lamp", "title": "Lamp", "category": "lamps", "price": 1}')
    async with _without(acme, "ingest_rows"):
        _, ingest = await _accept(acme, upload)
        await kept_trying(acme.client, ingest, "ingest_slice")
        await cancelled(acme.client, ingest)
        await kept_trying(acme.client, ingest, "end_ingest")
    await acme.client.get_workflow_handle(ingest).result()
    return [ingest]


SCENES: dict[tuple[str, ...], Scene] = {
    ("calls-deferred", "completion-answered"): _answered,
    ("calls-cached",): _cached,
    ("calls-mixed", "completion-plain", "completion-keyed"): _mixed,
    ("calls-replayed",): _replayed,
    ("calls-reads",): _reads,
    ("completion-fell-back",): _fell_back,
    ("completion-refused",): _refused,
    ("completion-unavailable",): _unavailable,
    ("completion-too-late",): _too_late,
    ("completion-retrieval-failed",): _retrieval_failed,
    ("calls-admission-failed",): _admission_failed,
    ("calls-family-failed",): _family_failed,
    ("calls-settling-failed",): _settling_failed,
    ("calls-unknown-family",): _unknown_family,
    ("completion-settled-late",): _settled_late,
    ("completion-cancelled",): _cancelled,
    ("calls-ingestion", "ingest-completed"): _ingested,
    ("ingest-cancelled",): _ingestion_cancelled,
}


async def record(provider: Provider, temporal: str, redis_url: str, folder: Path) -> list[Path]:
    """Play every scene in a world of its own and write the histories below `folder`."""
    written: list[Path] = []
    for names, scene in SCENES.items():
        first = "status-503" if scene is _fell_back else "good"
        routes = [
            route(provider, first),
            *(route(provider, name) for name in ("nousage", "junk", "status-400", "hang")),
        ]
        async with Redis.from_url(redis_url) as redis:
            await redis.flushdb()  # the worlds are alike, so one would be answered from another's cache
        with tempfile.TemporaryDirectory() as home:
            async with world(Path(home), temporal=temporal, redis_url=redis_url, routes=routes) as acme:
                executions = await scene(acme)
                for name, execution in zip(names, executions, strict=True):
                    history = await acme.client.get_workflow_handle(execution).fetch_history()
                    path = folder / f"{name}.json"
                    path.write_text(_anonymous(history.to_json()))
                    written.append(path)
    return written


def _anonymous(history: str) -> str:
    """Without the name of the machine that it was recorded on."""

    def scrubbed(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: "recorder" if name == "identity" else value for name, value in fields.items()}

    return json.dumps(json.loads(history, object_hook=scrubbed), indent=1) + "\n"


def main() -> None:
    """Record all of them anew."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, provider_server() as provider:
        for part in ("temporal", "redis"):
            (Path(home) / part).mkdir()
        with temporal_server(Path(home) / "temporal") as temporal, redis_server(Path(home) / "redis") as redis_url:
            for path in asyncio.run(record(provider, temporal, redis_url, FOLDER)):
                sys.stdout.write(f"{path.relative_to(Path.cwd())}\n")


if __name__ == "__main__":
    main()
