"""Heartbeats while something long runs, so that a worker that dies is noticed within seconds."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from temporalio import activity

EVERY = 2.0
"""Seconds."""


@contextlib.asynccontextmanager
async def beating(detail: str) -> AsyncGenerator[None]:
    """Send heartbeats with `detail` until the block ends."""

    async def beat() -> None:
        while True:
            activity.heartbeat(detail)
            await asyncio.sleep(EVERY)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
