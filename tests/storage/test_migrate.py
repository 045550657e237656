"""Migrations: they make what the models say, once, and know versions apart."""

import asyncio
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, exc, text

from storage import audit, migrate
from storage.audit import SYSTEM, Entry
from storage.migrate import NewerDatabaseError, State
from storage.sql import Database
from storage.tables import METADATA


def _difference(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, METADATA))


async def test_models_and_migrations_agree(database: Database) -> None:
    async with database.read() as tx:
        assert await tx.run_sync(_difference) == []


async def test_state_and_upgrade(database_url: str) -> None:
    assert await migrate.state(database_url) is State.OLDER
    await migrate.upgrade(database_url)
    assert await migrate.state(database_url) is State.CURRENT
    await migrate.upgrade(database_url)
    assert await migrate.state(database_url) is State.CURRENT


async def test_a_newer_database_is_left_alone(database_url: str) -> None:
    await migrate.upgrade(database_url)
    database = Database.open(database_url)
    async with database.write() as tx:
        await tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    assert await migrate.state(database_url) is State.NEWER
    with pytest.raises(NewerDatabaseError, match="Nothing was changed"):
        await migrate.upgrade(database_url)


async def test_processes_may_upgrade_at_once(database_url: str) -> None:
    program = f"import asyncio; from storage import migrate; asyncio.run(migrate.upgrade({database_url!r}))"
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE)
        for _ in range(3)
    ]
    for process in processes:
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()
    assert await migrate.state(database_url) is State.CURRENT


@pytest.mark.parametrize("change", ["UPDATE audit SET user_id = 'x'", "DELETE FROM audit"])
async def test_audit_rows_stay_as_they_are(database: Database, change: str) -> None:
    async with database.write() as tx:
        await audit.append(tx, [Entry(SYSTEM, "groups_create")])
    with pytest.raises(exc.DBAPIError, match="kept as they are"):
        async with database.write() as tx:
            await tx.execute(text(change))
