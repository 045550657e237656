"""The processes of the stack: how each is started, and how to tell that it is ready."""

import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import redis.asyncio
from redis.exceptions import RedisError

import stack.redis
from stack import temporal
from stack.resolved import Resolved
from stack.settings import Settings, provider_environment

WORKER_READY = b"cohort-worker ready"
"""The line that a worker writes to its standard output once it polls for work."""
WORKER_NOTICE = b"cohort-worker notice: "
"""Begins a line about something that a person must mend, such as a provider's key that is not set."""
WORKER_CHECKED = b"cohort-worker has looked at its routes"
"""The line after which no more of these come."""

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "TERM", "USER")


STOP_ORDER = ("door", "worker", "llm", "temporal", "redis")
"""Who calls stops before who is called, so that nothing fails on the way down."""


@dataclass(frozen=True)
class Service:
    """One process of the stack. `ready` is given the log as written since the start of the process."""

    name: str
    title: str
    command: Sequence[str]
    ready: Callable[[bytes], Awaitable[bool]]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    within: float = 60
    """Seconds that it may take to become ready."""
    grace: float = 10
    """Seconds that it may take to stop."""


def free_port() -> int:
    """A TCP port on loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def temporal_server(settings: Settings, where: Resolved) -> Service:
    """The Temporal dev server with its UI."""

    async def ready(_: bytes) -> bool:
        return await temporal.is_ready(where.temporal_address, where.temporal_namespace) and await _ok(
            where.temporal_ui
        )

    command = temporal.command(
        port=settings.temporal_port,
        ui_port=settings.temporal_ui_port,
        database=where.folder.temporal,
        namespace=where.temporal_namespace,
        codec_endpoint=where.codec_endpoint,
    )
    return Service("temporal", "Temporal", command, ready, _little_environment())


def redis_server(where: Resolved) -> Service:
    """The Redis server on its unix socket."""

    async def ready(_: bytes) -> bool:
        return await redis_answers(where.redis_url)

    return Service("redis", "Redis", stack.redis.prepare(where.folder), ready, _little_environment())


@dataclass(frozen=True)
class LocalModel:
    """Where the local model is served in this run, and the key that callers must show."""

    service: Service
    url: str
    key: str


def local_model() -> LocalModel:
    """The local language model on a free port with a fresh key."""
    url, key = f"http://127.0.0.1:{free_port()}", secrets.token_urlsafe(32)

    async def ready(_: bytes) -> bool:
        return await _ok(f"{url}/health")

    command = [sys.executable, "-m", "stack.local_llm", url.rsplit(":", 1)[1]]
    environment = {**_little_environment(), **_settings_environment(), "COHORT_LOCAL_LLM_KEY": key}
    return LocalModel(Service("llm", "Local model", command, ready, environment), f"{url}/v1", key)


def worker(where: Resolved, model: LocalModel | None) -> Service:
    """The worker; it alone is given the providers' keys that stand in `.env`."""

    async def ready(log: bytes) -> bool:
        return WORKER_READY in log

    environment = {**provider_environment(), **os.environ, "COHORT_HOME": str(where.folder.path)}
    if model is not None:
        environment |= {"COHORT_LOCAL_LLM_URL": model.url, "COHORT_LOCAL_LLM_KEY": model.key}
    # pending local activities may take 10 s, and a provider's call is handed back by the heartbeat
    return Service("worker", "Worker", [sys.executable, "-m", "activities.worker"], ready, environment, grace=20)


def front_door(where: Resolved) -> Service:
    """The front door: MCP, REST and the documentation pages."""

    async def ready(_: bytes) -> bool:
        return await _ok(f"{where.url}/api/v1/health")

    environment = {**os.environ, "COHORT_HOME": str(where.folder.path)}
    return Service("door", "Front door", [sys.executable, "-m", "mcp_server.app"], ready, environment, grace=15)


async def redis_answers(url: str) -> bool:
    """Whether a Redis server answers at `url` and takes its password."""
    client = redis.asyncio.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3)
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()


async def _ok(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        async with httpx.AsyncClient(timeout=3, trust_env=False) as client:
            return (await client.get(url)).is_success
    return False


def _little_environment() -> dict[str, str]:
    """Enough for a program that needs none of our secrets."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def _settings_environment() -> dict[str, str]:
    """What a process of ours needs to be importable from a checkout, and its settings to be checked alike."""
    return {name: value for name, value in os.environ.items() if name.startswith(("COHORT_HOME", "PYTHON", "VIRTUAL_"))}


def log_since(log: Path, offset: int) -> bytes:
    """What was written to `log` from `offset` on."""
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(offset)
        return file.read()
    return b""
