"""A small world: acme with research and sales below it, a platform group, and a stranger."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.calls import Caller
from domain.errors import CohortError
from domain.keys import ApiKey
from domain.policy import Level, Principal
from storage import groups, snapshots
from storage.sql import Database

PEPPER = b"p" * 32


@dataclass(frozen=True)
class World:
    """The database and one key a user."""

    database: Database
    keys: dict[str, ApiKey]

    def caller(self, user: str, **narrowing: str) -> Caller:
        return Caller(key_id=self.keys[user].id, user_id=user, **narrowing)

    async def take(self, user: str, **narrowing: str) -> Principal | CohortError:
        async with self.database.read() as tx:
            [taken] = await snapshots.take(tx, [self.caller(user, **narrowing)])
        return taken

    async def principal(self, user: str, **narrowing: str) -> Principal:
        taken = await self.take(user, **narrowing)
        assert isinstance(taken, Principal), taken
        return taken


async def small_world(database: Database) -> World:
    """Make it."""
    async with database.write() as tx:
        keys = await _fill(tx)
    return World(database, keys)


async def _fill(tx: AsyncConnection) -> dict[str, ApiKey]:
    await groups.create_group(
        tx,
        "acme",
        name="Acme",
        permissions=["documents:write"],
        shared_permissions=["products:read", "completions:create"],
    )
    await groups.create_group(
        tx,
        "research",
        name="Research",
        parent="acme",
        access_level=Level.CONFIDENTIAL,
        admin_level=2,
        permissions=["models:*"],
    )
    await groups.create_group(tx, "lab", name="Lab", parent="research")
    await groups.create_group(tx, "sales", name="Sales", parent="acme", permissions=["products:write"])
    await groups.create_group(tx, "platform", name="Platform", admin_level=3, permissions=["*:*"])
    await groups.create_group(tx, "partner", name="Partner", access_level=Level.PUBLIC, permissions=["products:read"])
    for user, group in [
        ("rosa", "research"),
        ("lena", "lab"),
        ("sam", "sales"),
        ("root", "platform"),
        ("pat", "partner"),
    ]:
        await groups.create_user(tx, user, primary_group=group)
    await groups.create_user(tx, "both", primary_group="sales")
    await groups.add_member(tx, "both", "research", role=0)
    return {
        user: await groups.create_key(tx, user, pepper=PEPPER)
        for user in ("rosa", "lena", "sam", "root", "pat", "both")
    }
