"""The front door as a process: light, ready with a line, gone on SIGTERM after its callers have their answers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from mcp_server.problems import BODY, validate
from tests.support.environment import clean_environment
from tests.support.servers import free_port, wait_until

HEAVY = ("litellm", "lancedb", "onnxruntime", "tokenizers", "numpy", "pyarrow", "redis")


def test_importing_the_door_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import time; began = time.process_time(); import sys, mcp_server.app;"
        f"print(time.process_time() - began, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds, loaded = out.split(" ", 1)
    assert float(seconds) < 2
    assert loaded.strip() == "[]"


def test_help_is_quick_and_shows_examples() -> None:
    code = "import time; b = time.process_time(); import sys, mcp_server.cli; print(time.process_time() - b)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(out) < 1
    shown = subprocess.run(
        [sys.executable, "-m", "mcp_server.cli", "--help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "Exit codes" in shown
    assert "cohort ingest products" in shown


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "secret.key").write_bytes(os.urandom(32))
    clean = clean_environment()
    own = {"COHORT_HOME": str(tmp_path), "COHORT_PORT": str(free_port()), "COHORT_TEMPORAL_ADDRESS": "127.0.0.1:1"}
    return {**clean, **own}


def test_it_says_when_it_is_ready_stays_small_and_stops_on_sigterm(environment: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "door.log"
    with log.open("wb") as out:
        door = subprocess.Popen([sys.executable, "-m", "mcp_server.app"], env=environment, stdout=out, stderr=out)
    try:
        wait_until(lambda: "cohort-door ready" in log.read_text(), seconds=30, what="the door")
        url = f"http://127.0.0.1:{environment['COHORT_PORT']}"
        with httpx.Client(base_url=url) as client:
            key = "cohort_not_a_key"
            for path in ("/api/v1/health", "/docs", "/openapi.json", "/api/v1/groups"):
                client.get(path, headers={"X-API-Key": key, "X-Correlation-ID": "find-me"})
        assert psutil.Process(door.pid).memory_info().rss < 150 * 2**20
        began = time.monotonic()
        door.send_signal(signal.SIGTERM)
        assert door.wait(15) in (0, -signal.SIGTERM)
        assert time.monotonic() - began < 5
    finally:
        door.kill()
        door.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    requests = [line for line in lines if line["logger"] == "cohort.access"]
    assert [(each["route"], each["status"]) for each in requests][-1] == ("/api/v1/groups", 401)
    assert requests[-1]["correlationId"] == "find-me"
    assert key not in log.read_text()


def test_without_a_secret_it_says_so_and_ends(tmp_path: Path) -> None:
    clean = clean_environment()
    ended = subprocess.run(
        [sys.executable, "-m", "mcp_server.app"],
        env={**clean, "COHORT_HOME": str(tmp_path / "empty")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "master secret" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_caller_who_goes_away_is_not_waited_for() -> None:
    from starlette.requests import ClientDisconnect, Request

    from mcp_server.rest import unless_gone

    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnect):
        await unless_gone(Request({"type": "http"}, gone), work())
    await asyncio.wait_for(ended.wait(), 1)


def test_problems_never_repeat_what_was_given() -> None:
    from domain.completions import CompletionInput
    from domain.errors import CohortError

    with pytest.raises(CohortError) as refused:
        validate(CompletionInput, {"prompt": {"secret": "hunter2"}, "maxTokens": "hunter2"}, BODY)
    assert "hunter2" not in str(refused.value.body())
