"""One world for each test module: workers are cheap, but migrations and tables are not."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.provider import Provider, provider_server
from tests.support.world import World, route, world

MANNERS = [
    *(
        "good",
        "echo",
        "nousage",
        "oddusage",
        "surrogate",
        "hang",
        "held",
        "slow-30",
        "flaky-1",
        "flaky-2",
        "disconnect",
    ),
    *("junk", "html", "list", "nochoices", "nullmessage", "wrongtypes", "empty", "errorbody"),
    *(f"status-{status}" for status in (400, 401, 403, 404, 413, 429, 500, 503)),
]


@pytest.fixture
def provider() -> Generator[Provider]:
    """A fresh provider that misbehaves on command."""
    with provider_server() as server:
        yield server


@pytest_asyncio.fixture
async def acme(tmp_path: Path, temporal: str, redis_url: str, provider: Provider) -> AsyncGenerator[World]:
    """A world with one route that answers, and routes of every bad manner that are used by name."""
    routes = [route(provider, name, timeout=0.5 if name == "hang" else 20) for name in MANNERS]
    async with world(tmp_path, temporal=temporal, redis_url=redis_url, routes=routes) as small:
        yield small
