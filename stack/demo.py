"""Loads the demo world on the first start, and goes on where an earlier start was interrupted."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from mcp_server.client import CallFailed, DoorAway, FrontDoor
from mcp_server.ingest import ingest
from stack.home import read_state, write_private, write_state
from stack.resolved import Resolved
from stack.screen import Screen
from storage.demo import world
from storage.secrets import Secrets
from storage.sql import Database

LOADING, LOADED = "loading", "loaded"
ADMIN = "admin"


async def bring(where: Resolved, screen: Screen) -> dict[str, str]:
    """Make sure that the demo world is there; gives the tokens of its users.

    What is ingested goes through the front door, as a user's own files do. An ingestion that was interrupted is
    repeated: rows that are there already count as unchanged. If it fails, that is said and the stack stays up.
    """
    folder, keys = where.folder, _known(where)
    # the state folder may have been given another database since
    loaded = read_state(folder).get("demo") == LOADED and await _is_there(where)
    if not loaded or not keys:
        keys = await _people(where, keys)
    _tell(where, keys)
    if loaded:
        return keys
    write_state(folder, demo=LOADING)
    try:
        rows = await asyncio.to_thread(_load, where.url, keys[ADMIN], screen.progress("Loading the demo world"))
    except (CallFailed, DoorAway) as why:
        screen.say(f"The demo world is not complete: {str(why).rstrip('.')}. The next start goes on with it.")
    else:
        write_state(folder, demo=LOADED)
        screen.say(f"The demo world is loaded ({rows} products and documents)")
    return keys


def repeat_without_index(where: Resolved) -> None:
    """Have the demo world loaded again where its vectors were removed; call it before a worker makes them anew.

    Rows that SQL holds count as unchanged, and only their copies are made.
    """
    folder = where.folder
    lost = where.vectors_url == str(folder.vectors) and not folder.vectors.exists()
    if lost and read_state(folder).get("demo") == LOADED:
        write_state(folder, demo=LOADING)


async def _is_there(where: Resolved) -> bool:
    database = Database.open(where.database_url, pool=1)
    try:
        async with database.read() as tx:
            return await world.is_there(tx)
    finally:
        await database.close()


async def _people(where: Resolved, known: dict[str, str]) -> dict[str, str]:
    database = Database.open(where.database_url, pool=1)
    try:
        async with database.write() as tx:
            return await world.build(tx, pepper=Secrets(where.secret).key("api-keys"), known=known)
    finally:
        await database.close()


def _load(url: str, key: str, show: Callable[[int, int], None]) -> int:
    """Ingest every file as the administrator, acting for the group that is to own it; gives the number of rows."""
    everything = [(load, load.rows()) for load in world.loads()]
    total, before = sum(rows for _, rows in everything), 0
    for load, rows in everything:

        def tell(step: str, done: int, of: int, before: int = before, rows: int = rows) -> None:
            if step == "rows" and of:
                show(before + rows * done // of, total)

        with FrontDoor(url, key) as door:
            door.act_as(load.group)
            report = ingest(door, load.kind, load.path, load.group, load.level, tell)
        if report.rejected:
            raise CallFailed({"error": {"message": f"{load.path} has rows that were rejected: {report.rejects[0]}"}})
        before += rows
    show(total, total)
    return total


def _known(where: Resolved) -> dict[str, str]:
    try:
        told: dict[str, Any] = json.loads(where.folder.demo.read_bytes())
        return {str(name): str(token) for name, token in told["keys"].items()}
    except (FileNotFoundError, ValueError, KeyError):
        return {}


def _tell(where: Resolved, keys: dict[str, str]) -> None:
    """Write `demo.json`; ports may have changed since the last start."""
    content = {"url": where.url, "temporal_ui": where.temporal_ui, "keys": keys}
    write_private(where.folder.demo, json.dumps(content, indent=2).encode())
