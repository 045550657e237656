"""A migrated database of each kind, and a small world in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage import migrate
from storage.sql import Database
from tests.storage.offices import Office, office
from tests.storage.worlds import World, small_world


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'cohort.db'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with tables."""
    await migrate.upgrade(database_url)
    opened = Database.open(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def world(database: Database) -> World:
    """Groups, users and keys (`tests.storage.worlds`)."""
    return await small_world(database)


@pytest.fixture
async def at_office(database: Database) -> Office:
    """Groups with administrators, and their users (`tests.storage.offices`)."""
    return await office(database)
