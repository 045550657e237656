"""Several front doors and workers as processes of their own, over one database, Redis and Temporal server."""

import base64
import contextlib
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from stack import processes
from storage import migrate
from storage.secrets import Secrets
from storage.sql import Database
from tests.support.environment import clean_environment
from tests.support.servers import free_port
from tests.support.waiting import eventually

SECRET = bytes(range(32))
READY_WITHIN = 90
_READY = b"cohort-worker ready"


@dataclass
class Cluster:
    """What a test talks to. `urls` are the front doors'."""

    folder: Path
    database: Database
    environment: dict[str, str]
    urls: list[str] = field(default_factory=list[str])
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    @property
    def pepper(self) -> bytes:
        """What keys are digested with."""
        return Secrets(SECRET).key("api-keys")

    def door(self, number: int, token: str, **headers: str) -> httpx.AsyncClient:
        """A client of one front door with a key."""
        return httpx.AsyncClient(base_url=self.urls[number], headers={"X-API-Key": token, **headers}, timeout=60)

    async def start_worker(self) -> subprocess.Popen[bytes]:
        """Another worker, as soon as it polls."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        command = [sys.executable, "-m", "activities.worker", "--roles", "workflows"]
        process = processes.spawn(command, log=log, environment=self.environment)
        self.workers.append(process)

        async def polls() -> bool:
            assert process.poll() is None, log.read_text()
            return _READY in log.read_bytes()

        await eventually(polls, seconds=READY_WITHIN, what=f"the worker polls, see {log}")
        return process


@contextlib.asynccontextmanager
async def cluster(
    folder: Path, *, temporal: str, redis_url: str, database_url: str, doors: int = 2, workers: int = 2
) -> AsyncGenerator[Cluster]:
    """A migrated database, and processes that end with the block."""
    await migrate.upgrade(database_url)
    settings = {
        "COHORT_HOME": str(folder / "home"),
        "COHORT_TEMPORAL_ADDRESS": temporal,
        "COHORT_REDIS_URL": redis_url,
        "COHORT_DATABASE_URL": database_url,
        "COHORT_VECTORS_URL": str(folder / "vectors"),
        "COHORT_UPLOADS_URL": str(folder / "uploads"),
        "COHORT_SECRET_KEY": base64.b64encode(SECRET).decode(),
    }
    made = Cluster(folder, Database.open(database_url), clean_environment() | settings)
    serving: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(doors):
            port, log = free_port(), folder / f"door-{number}.log"
            command = [sys.executable, "-m", "mcp_server.app"]
            environment = made.environment | {"COHORT_PORT": str(port)}
            serving.append(processes.spawn(command, log=log, environment=environment))
            made.urls.append(f"http://127.0.0.1:{port}")
        for _ in range(workers):
            await made.start_worker()
        for url in made.urls:
            await eventually(lambda url=url: _serves(url), seconds=READY_WITHIN, what=f"{url} serves")
        yield made
    finally:
        for process in (*serving, *made.workers):
            if process.poll() is None:
                process.terminate()
        for process in (*serving, *made.workers):
            processes.end(process, grace=20)
        await made.database.close()


async def _serves(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        async with httpx.AsyncClient(timeout=3) as client:
            return (await client.get(f"{url}/api/v1/health")).is_success
    return False
