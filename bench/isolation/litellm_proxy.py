"""A running LiteLLM proxy: two processes of it on one PostgreSQL and one Redis, as it is run for several groups."""

import asyncio
import contextlib
import json
import secrets
import subprocess
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx

from bench.isolation.litellm_install import Installed, environment, install
from bench.isolation.provider import KEY, MODEL, Provider
from bench.stack import free_ports
from stack.programs import redis_server
from tests.support.postgres import postgres_server

READY_WITHIN = 180.0
HIDDEN_MODEL = "model-of-a"
PRICE_OF_A_TOKEN = 0.00005
PROCESSES = 2


@dataclass(frozen=True)
class Proxy:
    """Where it answers, and the key of its administrator."""

    doors: list[str]
    master_key: str
    version: str


@contextlib.contextmanager
def running(provider: Provider) -> Generator[Proxy]:
    """Install and start everything, end it afterwards."""
    installed = install()
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="cohort-bench-litellm-")))
        database = ending.enter_context(postgres_server()).fresh_database()
        migrations = sorted(installed.migrations.glob("*/migration.sql"))
        asyncio.run(_migrate(database, [each.read_text() for each in migrations]))
        redis_port, *ports = free_ports(1 + PROCESSES)
        password, master_key = secrets.token_hex(16), f"sk-{secrets.token_hex(16)}"
        ending.enter_context(_redis(folder, redis_port, password))
        config = folder / "config.yaml"
        config.write_text(json.dumps(_config(provider, redis_port, password, master_key)))  # JSON is YAML
        settings = _environment(installed, database.replace("+asyncpg", ""))
        # the second one is started when the first has answered: both would set up the same rows
        for port in ports:
            ending.enter_context(_process(installed, config, port, settings, folder / f"{port}.log"))
        yield Proxy([f"http://127.0.0.1:{port}" for port in ports], master_key, installed.version)


def _config(provider: Provider, redis_port: int, password: str, master_key: str) -> dict[str, object]:
    """Its defaults, besides what has to be said: models, cache on Redis, files at the provider.

    `x-` headers are passed on, so that the provider knows the caller's group as a backend of one's own would.
    """
    upstream = {"api_base": provider.url, "api_key": KEY}
    priced = {"input_cost_per_token": PRICE_OF_A_TOKEN, "output_cost_per_token": PRICE_OF_A_TOKEN}
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{MODEL}", **upstream, **priced}}
        for name in (MODEL, HIDDEN_MODEL)
    ]
    redis = {"type": "redis", "host": "127.0.0.1", "port": redis_port, "password": password}
    return {
        "model_list": models,
        "litellm_settings": {"cache": True, "cache_params": redis},
        "general_settings": {"master_key": master_key, "forward_client_headers_to_llm_api": True},
        "files_settings": [{"custom_llm_provider": "openai", **upstream}],
    }


def _environment(installed: Installed, database: str) -> dict[str, str]:
    return {
        **environment(installed.engine),
        "DATABASE_URL": database,
        "DISABLE_SCHEMA_UPDATE": "true",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_SALT_KEY": f"sk-{secrets.token_hex(16)}",
    }


async def _migrate(url: str, migrations: list[str]) -> None:
    """Run LiteLLM's migrations in their order, as `prisma migrate deploy` does."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = query["host"][0] if "host" in query else parts.hostname
    port = int(query["port"][0]) if "port" in query else parts.port
    connection = await asyncpg.connect(user="postgres", database=parts.path[1:], host=host, port=port)
    try:
        for migration in migrations:
            await connection.execute(migration)
    finally:
        await connection.close()


@contextlib.contextmanager
def _redis(folder: Path, port: int, password: str) -> Generator[None]:
    """The packaged redis-server, with the memory rule of Cohort's own and without persistence."""
    configuration = folder / "redis.conf"
    lines = [f"port {port}", "bind 127.0.0.1", f"requirepass {password}", f'dir "{folder}"', 'save ""']
    lines += ["maxmemory 512mb", "maxmemory-policy volatile-lru"]
    configuration.write_text("\n".join([*lines, ""]))
    with _ended([str(redis_server()), str(configuration)], folder / "redis.log", None):
        yield


@contextlib.contextmanager
def _process(installed: Installed, config: Path, port: int, env: dict[str, str], log: Path) -> Generator[None]:
    """One proxy process, ready when it says so."""
    command = [str(installed.bin / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with _ended(command, log, env) as process:
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{port}/health/readiness", timeout=5, trust_env=False).is_success:
                    break
            time.sleep(0.5)
        else:
            raise SystemExit(
                f"The LiteLLM proxy did not start. Its output:\n{log.read_text(errors='replace')[-5_000:]}"
            )
        yield


@contextlib.contextmanager
def _ended(command: list[str], log: Path, env: dict[str, str] | None) -> Generator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=env, cwd=log.parent)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
