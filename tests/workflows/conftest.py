"""One world for each test module: workers are cheap, but migrations and tables are not."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import update

from domain.policy import Level
from storage import groups
from storage.tables import GROUPS
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


@pytest.fixture
async def ruled(acme: World) -> World:
    """Acme with an administrator of everything, `root`, who writes in sales too."""
    keys = dict(acme.keys)
    async with acme.parts.database.write() as tx:
        await groups.create_group(
            tx, "platform", name="Platform", access_level=Level.CONFIDENTIAL, admin_level=3, permissions=["*:*"]
        )
        await tx.execute(update(GROUPS).where(GROUPS.c.id == "acme-sales").values(permissions=["products:write"]))
        await groups.create_user(tx, "root", primary_group="platform")
        await groups.add_member(tx, "root", "acme-sales")
        keys["root"] = (await groups.create_key(tx, "root", pepper=acme.parts.secrets.key("api-keys"))).id
    return World(client=acme.client, parts=acme.parts, keys=keys)
