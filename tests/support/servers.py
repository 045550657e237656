"""The embedded servers on their own, on free ports in a temporary folder, as the supervisor starts them."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Generator
from pathlib import Path

import redis

import stack.redis
from stack import home, processes, temporal
from stack.resolved import StateFolder, embedded_redis_url


def free_port() -> int:
    """A TCP port on loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll until `condition` holds.

    Raises:
        TimeoutError: it did not in time; `what` says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s: {what}")
        time.sleep(0.02)


@contextlib.contextmanager
def temporal_server(folder: Path) -> Generator[str]:
    """A tuned dev server with a file; yields its address."""
    port = free_port()
    address, log = f"127.0.0.1:{port}", folder / "temporal.log"
    process = processes.spawn(temporal.command(port=port, ui_port=None, database=folder / "temporal.db"), log=log)
    try:
        wait_until(lambda: asyncio.run(temporal.is_ready(address)), seconds=30, what=f"Temporal, see {log}")
        yield address
    finally:
        processes.end(process, grace=10)


@contextlib.contextmanager
def redis_server(folder: Path) -> Generator[str]:
    """A Redis server on a unix socket with a password; yields its URL."""
    state = StateFolder(folder)
    home.make(state)
    home.make_secrets(state)
    log = state.logs / "redis.log"
    process = processes.spawn(stack.redis.prepare(state), log=log)
    url = embedded_redis_url(state)
    try:
        wait_until(lambda: _answers(url), seconds=15, what=f"Redis, see {log}")
        yield url
    finally:
        processes.end(process, grace=10)


def _answers(url: str) -> bool:
    with contextlib.suppress(redis.ConnectionError), redis.Redis.from_url(url) as client:
        return bool(client.ping())
    return False
