"""Waiting for what happens by itself, with a deadline instead of a guess."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def eventually(condition: Callable[[], Awaitable[bool]], *, seconds: float, what: str) -> None:
    """Poll until `condition` holds.

    Raises:
        TimeoutError: it did not in time; `what` says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s: {what}")
        await asyncio.sleep(0.02)
