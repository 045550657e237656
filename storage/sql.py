"""The SQL database: SQLite by default, PostgreSQL by setting. One snapshot a read, one transaction a write."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from storage import epochs

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
}
_BUSY_SECONDS = 15


class Database:
    """A pool of connections. Safe to use from many tasks of one event loop; every `tx` belongs to one task."""

    def __init__(self, reader: AsyncEngine, writer: AsyncEngine) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    def open(cls, url: str, *, pool: int = 4) -> "Database":
        """A database for `url` (`sqlite:///path`, `postgresql://…`); it connects when it is first used.

        Raises:
            ValueError: the URL names another kind of database.
        """
        target = normalised(url)
        return _sqlite(cls, target, pool) if target.get_backend_name() == "sqlite" else _postgresql(cls, target, pool)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._writer.dialect.name

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """One read-only snapshot: everything read through it is of one moment."""
        async with self._reader.connect() as tx:
            yield tx

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """One transaction: committed at the end with the epochs that it raised, rolled back by an exception."""
        async with self._writer.begin() as tx:
            epochs.forget(tx)
            yield tx
            await epochs.flush(tx)

    async def close(self) -> None:
        """Close every connection."""
        await self._reader.dispose()
        await self._writer.dispose()


def normalised(url: str) -> URL:
    """The URL with the driver that Cohort uses.

    Raises:
        ValueError: the URL is of another kind of database, or no URL at all.
    """
    target = make_url(url)
    backend = target.drivername.partition("+")[0]
    if backend not in _DRIVERS:
        raise ValueError(f"cannot use a {backend} database: give COHORT_DATABASE_URL as postgresql://… or leave it out")
    return target.set(drivername=_DRIVERS[backend])


def dumps(value: Any) -> str:
    """JSON as the JSON columns hold it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _postgresql(cls: type[Database], url: URL, pool: int) -> Database:
    writer = create_async_engine(
        url,
        pool_size=pool,
        max_overflow=pool,
        pool_pre_ping=True,
        pool_timeout=_BUSY_SECONDS,
        json_serializer=dumps,
        hide_parameters=True,
    )
    reader = writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return cls(reader, writer)


def _sqlite(cls: type[Database], url: URL, pool: int) -> Database:
    """One writer and some readers, each connection with its own thread.

    The pool of one is the queue of this process's writers: they take turns in order instead of polling the file lock.
    """
    reader = _sqlite_engine(url, size=pool, begin="BEGIN", read_only=True)
    writer = _sqlite_engine(url, size=1, begin="BEGIN IMMEDIATE", read_only=False)
    return cls(reader, writer)


def _sqlite_engine(url: URL, *, size: int, begin: str, read_only: bool) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=_BUSY_SECONDS * 2,
        json_serializer=dumps,
        hide_parameters=True,  # an error is logged, what a caller wrote is not
        # With isolation_level None the driver never opens a transaction behind our back (it would, deferred, before
        # the first INSERT, and a deferred transaction that turns to writing fails instead of waiting).
        connect_args={"isolation_level": None, "timeout": _BUSY_SECONDS},
    )

    def connected(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        prepare_sqlite(connection, read_only=read_only)

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", begun)
    return engine


def prepare_sqlite(connection: DBAPIConnection, *, read_only: bool) -> None:
    """Set a fresh SQLite connection up."""
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone() != ("wal",):
            # Kept in the file, so only its first connection ever comes here.
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
    finally:
        cursor.close()
