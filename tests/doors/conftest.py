"""A front door over a real database and a real Temporal server, with the small workflow of `calls` behind it."""

import asyncio
import base64
import contextlib
import os
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette

from domain.policy import Level
from mcp_server.app import create_app
from mcp_server.operations import OPERATIONS, Operation
from stack.settings import Settings
from storage import groups, migrate
from storage.identity import Database, Secrets
from storage.tables import KEYS

URL = "http://127.0.0.1:8080"
SECRET = os.urandom(32)
"""The master secret of every door under test."""


@dataclass(frozen=True)
class House:
    """A front door and the keys of its callers."""

    app: Starlette
    keys: dict[str, str]
    database: Database
    settings: Settings

    def rest(self, key: str | None = "rosa", **headers: str) -> httpx.AsyncClient:
        """A REST client with somebody's key."""
        sent = headers if key is None else {"X-API-Key": self.keys.get(key, key), **headers}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=URL, headers=sent, timeout=60)

    def http2(self, key: str | None = "rosa", **headers: str) -> httpx2.AsyncClient:
        """The HTTP client under an MCP client."""
        sent = headers if key is None else {"X-API-Key": self.keys.get(key, key), **headers}
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), headers=sent, timeout=60)

    def mcp(self, http: httpx2.AsyncClient, mode: str = "2026-07-28") -> Client:
        """An MCP client over it."""
        return Client(streamable_http_client(f"{URL}/mcp", http_client=http), mode=mode, cache=None)


def settings_of(home: Path, temporal: str, **others: Any) -> Settings:
    """Settings of a door with its state in `home`."""
    secret = base64.b64encode(SECRET).decode()
    return Settings.model_validate({"home": home, "secret_key": secret, "temporal_address": temporal, **others})


async def build(settings: Settings) -> tuple[Database, dict[str, str]]:
    """A database with acme (research below it), a stranger and an operator; the keys by name."""
    url = settings.resolved().database_url
    await migrate.upgrade(url)
    database = Database.open(url)
    pepper = Secrets(SECRET).key("api-keys")
    reads = ["products:read"]
    async with database.write() as tx:
        await groups.create_group(tx, "acme", name="Acme", shared_permissions=["completions:create", *reads])
        await groups.create_group(
            tx,
            "research",
            name="Research",
            parent="acme",
            access_level=Level.CONFIDENTIAL,
            permissions=["products:write"],
        )
        await groups.create_group(tx, "reader", name="Reader", permissions=reads)
        await groups.create_group(tx, "platform", name="Platform", admin_level=3, permissions=["*:*"])
        for user, group in {"rosa": "research", "rudi": "reader", "root": "platform"}.items():
            await groups.create_user(tx, user, primary_group=group)
        made = {user: await groups.create_key(tx, user, pepper=pepper) for user in ("rosa", "rudi", "root")}
        made["expired"] = await groups.create_key(tx, "rosa", pepper=pepper, expires_at=time.time() + 3600)
        made["revoked"] = await groups.create_key(tx, "rosa", pepper=pepper)
        await groups.revoke_key(tx, made["revoked"].id)
        await tx.execute(KEYS.update().where(KEYS.c.id == made["expired"].id).values(expires_at=time.time() - 1))
    return database, {name: key.token for name, key in made.items()}


@pytest.fixture
async def lonely(tmp_path: Path) -> AsyncGenerator[House]:
    """A front door whose Temporal server is away: what the door alone decides."""
    async with open_house(settings_of(tmp_path, "127.0.0.1:1")) as house:
        yield house


@contextlib.asynccontextmanager
async def open_house(settings: Settings, operations: dict[str, Operation] = OPERATIONS) -> AsyncGenerator[House]:
    """A door that serves, until it is let go of."""
    database, keys = await build(settings)
    app = create_app(settings, operations)
    serving, stopping = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        # A task of its own, as under uvicorn: what the lifespan enters must be left by the task that entered it.
        async with app.router.lifespan_context(app):
            serving.set()
            await stopping.wait()

    life = asyncio.create_task(live())
    await serving.wait()
    yield House(app, keys, database, settings)
    stopping.set()
    await life
    await database.close()
