"""What callers are told where nobody answers the door: what is down, and advice that fits the call."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import psutil

import stack.temporal
from domain.health import HealthOutput
from stack import processes
from tests.doors.conftest import House, open_house, settings_of
from tests.support.servers import free_port

HEALTH = "/api/v1/health/detailed"


@contextlib.asynccontextmanager
async def temporal_of_its_own(folder: Path) -> AsyncGenerator[tuple[str, list[psutil.Process]]]:
    """A server that no worker polls, its address and its processes, which the test may freeze."""
    address = f"127.0.0.1:{(port := free_port())}"
    process = processes.spawn(
        stack.temporal.command(port=port, ui_port=None, database=None), log=folder / "temporal.log"
    )
    try:
        async with asyncio.timeout(30):
            while not await stack.temporal.is_ready(address):
                await asyncio.sleep(0.05)
        yield address, processes.family(process.pid)
    finally:
        processes.kill(processes.family(process.pid))
        process.wait()


def parts(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The components of a health answer whose shape is the usual one."""
    assert body["success"], body
    assert HealthOutput.model_validate(body["data"]).status == "down"
    assert body["metadata"]["userGroups"] == ["acme", "research"]
    return {part["name"]: part for part in body["data"]["components"]}


async def test_health_is_told_where_the_workflow_server_is_away(lonely: House) -> None:
    async with lonely.rest() as client:
        answer = await client.get(HEALTH)
        assert (await client.get(HEALTH, headers={"X-API-Key": lonely.keys["revoked"]})).status_code == 401
    async with lonely.http2() as http, lonely.mcp(http) as client:
        result = await client.call_tool("health_check", {})
    assert answer.status_code == 200
    for body in (answer.json(), result.structured_content):
        found = parts(body)
        assert {name: part["state"] for name, part in found.items()} == {"database": "ok", "workflows": "down"}
        assert "the workflow server does not answer" in found["workflows"]["note"]
    assert "**down**" in result.content[0].model_dump()["text"]


async def test_a_revoked_key_is_told_nothing_although_it_is_remembered(lonely: House) -> None:
    from storage import groups

    async with lonely.rest("rudi") as client:
        assert (await client.get(HEALTH)).status_code == 200
        async with lonely.database.write() as tx:
            await groups.revoke_key(tx, lonely.keys["rudi"].split("_")[1])
        assert (await client.get(HEALTH)).status_code == 401


async def test_health_tells_a_missing_worker_from_a_frozen_server_and_advice_fits_the_call(tmp_path: Path) -> None:
    async with (
        temporal_of_its_own(tmp_path) as (address, family),
        open_house(settings_of(tmp_path, address)) as house,
        house.rest() as client,
    ):
        alone = parts((await client.get(HEALTH)).json())["workflows"]
        for one in family:
            one.suspend()
        began = time.monotonic()
        frozen = parts((await client.get(HEALTH)).json())["workflows"]
        took = time.monotonic() - began
        read = (await client.get("/api/v1/products")).json()["error"]
        written = (await client.post("/api/v1/completions", json={"data": {"prompt": "Well?"}})).json()["error"]

    assert "no worker answers" in alone["note"]
    assert "the workflow server does not answer" in frozen["note"]
    assert took < 5
    assert read["message"] == "The workflow server did not answer. Ask again."
    assert "with an idempotency key a retry picks its answer up" in written["message"]
    assert (read["code"], read["retryable"], written["retryable"]) == ("provider_unavailable", True, True)
