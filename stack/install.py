"""What an installation on services of your own needs once: its tables, and a first administrator with a key."""

import asyncio
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.policy import Level
from stack.settings import BadSettings, Settings
from storage import groups, migrate
from storage.secrets import Secrets
from storage.sql import Database
from storage.tables import GROUPS, USERS

PLATFORM, ADMIN = "platform", "admin"


@dataclass(frozen=True)
class FirstKey:
    """A key of the administrator; `token` is shown this once. `made` names the group and user that were new."""

    user: str
    group: str
    token: str
    made: tuple[str, ...]


def migrate_tables() -> bool:
    """Bring the database's tables up to date; whether anything had to be done.

    Raises:
        BadSettings: a setting does not fit.
    """
    url = Settings.load().resolved().database_url

    async def run() -> bool:
        if await migrate.state(url) is migrate.State.CURRENT:
            return False
        await migrate.upgrade(url)
        return True

    return asyncio.run(run())


def first_administrator() -> FirstKey:
    """Make the group `platform` and its user `admin` where they are missing, and a new key for him.

    Whoever may read the master secret and write the database may do so at any time; earlier keys stay valid.

    Raises:
        BadSettings: a setting does not fit.
    """
    where = Settings.load().resolved()

    async def run() -> FirstKey:
        if await migrate.state(where.database_url) is not migrate.State.CURRENT:
            raise BadSettings("The database's tables are not up to date, and nothing was made: run `cohort migrate`.")
        database = Database.open(where.database_url, pool=1)
        try:
            async with database.write() as tx:
                return await _first(tx, Secrets(where.secret).key("api-keys"))
        finally:
            await database.close()

    return asyncio.run(run())


async def _first(tx: AsyncConnection, pepper: bytes) -> FirstKey:
    made: list[str] = []
    if (await tx.execute(select(GROUPS.c.id).where(GROUPS.c.id == PLATFORM))).first() is None:
        await groups.create_group(
            tx, PLATFORM, name="Platform", access_level=Level.CONFIDENTIAL, admin_level=3, permissions=("*:*",)
        )
        made.append(PLATFORM)
    if (await tx.execute(select(USERS.c.id).where(USERS.c.id == ADMIN))).first() is None:
        await groups.create_user(tx, ADMIN, primary_group=PLATFORM)
        made.append(ADMIN)
    key = await groups.create_key(tx, ADMIN, pepper=pepper, name="bootstrap")
    return FirstKey(user=ADMIN, group=PLATFORM, token=key.token, made=tuple(made))
