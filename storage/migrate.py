"""Brings the database's tables to this version, and says whether they are. Works from an installed package."""

from enum import StrEnum
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

from storage.sql import Database

_LOCK = 0x434F484F5254
"""The number of PostgreSQL's advisory lock that migrations hold: `COHORT` in ASCII."""


class State(StrEnum):
    """How the tables compare with this version of Cohort. An empty database is `older`."""

    CURRENT = "current"
    OLDER = "older"
    NEWER = "newer"


class NewerDatabaseError(Exception):
    """The database was made by a newer version; nothing was changed."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"The database has tables of a newer version of Cohort (revision {revision}). Nothing was changed. "
            "Start that version again, or use another database."
        )


async def upgrade(url: str) -> None:
    """Apply every missing migration in one transaction; a second process that does the same waits, and finds none.

    Raises:
        NewerDatabaseError: the tables are of a newer version.
    """
    database = Database.open(url, pool=1)
    try:
        async with database.write() as tx:
            await tx.run_sync(_upgrade)
    finally:
        await database.close()


async def state(url: str) -> State:
    """How the tables compare with this version."""
    database = Database.open(url, pool=1)
    try:
        async with database.read() as tx:
            return await tx.run_sync(_state)
    finally:
        await database.close()


def config() -> Config:
    """Alembic's configuration, without a file: the scripts lie in this package."""
    found = Config()
    found.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return found


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    match _state(connection):
        case State.CURRENT:
            return
        case State.NEWER:
            raise NewerDatabaseError(str(_revision(connection)))
        case State.OLDER:
            settings = config()
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _state(connection: Connection) -> State:
    scripts = ScriptDirectory.from_config(config())
    revision = _revision(connection)
    if revision == scripts.get_current_head():
        return State.CURRENT
    if revision is None:
        return State.OLDER
    try:
        scripts.get_revision(revision)
    except CommandError:
        return State.NEWER
    return State.OLDER
