"""The floor: one bare Temporal workflow a call, with as many local activities as a cached completion takes.

Run as a module it is the floor's worker, so that caller, worker and server are separate processes as in the product.
"""

import asyncio
import contextlib
import sys
import uuid
from collections.abc import AsyncGenerator
from datetime import timedelta

import uvloop
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

from bench.load import Call, Figures, closed_loop

QUEUE = "bench-floor"


@activity.defn
async def nothing(value: str) -> str:
    """The smallest local activity."""
    return value


@workflow.defn
class Bare:
    """Three local activities in a row, as admit, look up and settle."""

    @workflow.run
    async def run(self, value: str) -> str:
        """Return what it was given."""
        for _ in range(3):
            value = await workflow.execute_local_activity(
                nothing, value, schedule_to_close_timeout=timedelta(seconds=10)
            )
        return value


@contextlib.asynccontextmanager
async def floor_worker(address: str) -> AsyncGenerator[None]:
    """The floor's worker in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.floor", address, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 30)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def measure(address: str, *, callers: int, seconds: float) -> Figures:
    """Calls through one client, a workflow each."""
    client = await Client.connect(address)

    async def caller() -> Call:
        async def call() -> None:
            await client.execute_workflow(Bare.run, "x", id=f"bare-{uuid.uuid4()}", task_queue=QUEUE)

        return call

    return await closed_loop(caller, callers=callers, seconds=seconds)


async def _work(address: str) -> None:
    client = await Client.connect(address)
    async with Worker(client, task_queue=QUEUE, workflows=[Bare], activities=[nothing]):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_work(sys.argv[1]))
