"""The demo world: who is in it, and that building it again changes nothing."""

import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from domain.policy import Level
from domain.products import ProductRow
from storage import migrate, retired
from storage.demo.world import DEMO_GROUPS, DEMO_USERS, build, is_there, loads
from storage.identity import Identity
from storage.sql import Database
from storage.tables import GROUPS, KEYS, MEMBERSHIPS, USERS
from tests.support.stack import Stack

PEPPER = b"p" * 32


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path}/cohort.db"
    await migrate.upgrade(url)
    database = Database.open(url)
    yield database
    await database.close()


async def make(database: Database, known: dict[str, str]) -> dict[str, str]:
    async with database.write() as tx:
        return await build(tx, pepper=PEPPER, known=known)


async def test_every_key_is_its_users(database: Database) -> None:
    tokens = await make(database, {})
    identity = Identity(database, PEPPER)
    for user, group in DEMO_USERS.items():
        verified = await identity.verify(tokens[user])
        assert (verified.user_id, verified.lane) == (user, group)


async def test_building_it_again_keeps_the_keys(database: Database) -> None:
    tokens = await make(database, {})
    assert await make(database, tokens) == tokens


async def test_keys_that_were_lost_are_made_anew(database: Database) -> None:
    tokens = await make(database, {})
    again = await make(database, {"admin": tokens["admin"], "sales": tokens["research"]})
    assert again["admin"] == tokens["admin"]
    assert again["sales"] not in tokens.values()


def test_the_groups_are_those_of_the_two_companies() -> None:
    levels = {group.id: (group.level, group.parent, group.admin_level) for group in DEMO_GROUPS}
    assert levels["acme"] == (Level.INTERNAL, None, 0)
    assert levels["acme-research"] == (Level.CONFIDENTIAL, "acme", 0)
    assert levels["acme-sales"] == (Level.INTERNAL, "acme", 0)
    assert levels["partner"] == (Level.PUBLIC, None, 0)
    assert levels["platform"][2] == 3


def test_the_catalogue_is_a_shops() -> None:
    rows = [
        ProductRow.model_validate_json(line)
        for load in loads()
        if load.kind == "products"
        for line in load.path.read_text(encoding="utf-8").splitlines()
    ]
    assert len(rows) >= 400
    assert len({row.category for row in rows}) >= 8
    assert any(row.restricted_groups or row.allowed_groups for row in rows)


def test_the_documents_are_of_all_levels() -> None:
    folders = [load for load in loads() if load.kind == "documents"]
    assert {load.level for load in folders} == set(Level)
    assert sum(len(list(load.path.glob("*.md"))) for load in folders) >= 60


def test_demo_json_is_private_and_complete(running: Stack) -> None:
    path = running.home / "demo.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = json.loads(path.read_bytes())
    assert set(told) == {"url", "temporal_ui", "keys"}
    assert (told["url"], told["temporal_ui"]) == (running.url, running.temporal_ui)
    assert set(told["keys"]) == {"admin", "research", "sales", "partner"}


async def test_what_was_deleted_stays_so(database: Database) -> None:
    tokens = await make(database, {})
    async with database.write() as tx:
        await tx.execute(delete(KEYS).where(KEYS.c.user_id == "partner"))
        await tx.execute(delete(MEMBERSHIPS).where(MEMBERSHIPS.c.user_id == "partner"))
        await tx.execute(delete(USERS).where(USERS.c.id == "partner"))
        await tx.execute(delete(GROUPS).where(GROUPS.c.id == "partner"))
        await retired.retire(tx, "user", "partner")
        await retired.retire(tx, "group", "partner")
    again = await make(database, tokens)
    assert again == {user: token for user, token in tokens.items() if user != "partner"}
    async with database.read() as tx:
        assert await is_there(tx)
        assert "partner" not in (await tx.execute(select(GROUPS.c.id))).scalars().all()
