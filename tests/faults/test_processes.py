"""Processes that are killed: each is noticed, said and mended, and nothing outlives the stack."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from stack import processes
from stack.resolved import StateFolder
from tests.support.servers import wait_until
from tests.support.stack import Stack, environment, read_up, running_stack, spawn, wait_ready

TITLES = {
    "temporal": "Temporal",
    "redis": "Redis",
    "llm": "Local model",
    "worker": "Worker",
    "door": "Front door",
}
MENDED_WITHIN = 60


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack without a demo world, for tests that hurt it."""
    with running_stack(tmp_path_factory.mktemp("patient"), COHORT_DEMO="false") as stack:
        yield stack


def living(family: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v1/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("name", TITLES)
def test_a_killed_process_is_noticed_and_mended(patient: Stack, name: str) -> None:
    before = {one: patient.pid(one) for one in TITLES}
    shown = len(patient.output)
    os.kill(before[name], signal.SIGKILL)
    again = f"{TITLES[name]} is ready again"
    wait_until(lambda: again in patient.output[shown:], seconds=MENDED_WITHIN, what=patient.output[shown:])
    assert f"{TITLES[name]} ended (signal SIGKILL); starting it again in" in patient.output[shown:]
    wait_until(lambda: bool(patient.up()["ready"]), seconds=MENDED_WITHIN, what="the stack to be whole again")
    after = {one: patient.pid(one) for one in TITLES}
    assert [one for one in TITLES if before[one] != after[one]] == [name]
    assert is_healthy(patient.url)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_leaves_nothing_and_keeps_the_state(number: signal.Signals, tmp_path: Path) -> None:
    settings = environment(tmp_path, COHORT_DEMO="false")
    first = spawn(tmp_path, settings)
    wait_ready(tmp_path, first)
    family = processes.family(first.pid)
    assert len(family) >= 1 + len(TITLES)
    secrets = {name: (tmp_path / name).read_bytes() for name in ("secret.key", "redis.key")}

    first.send_signal(number)
    assert first.wait(60) == 0
    assert living(family) == []
    said = (tmp_path / "up.out").read_text()
    stopped = [said.index(f"{TITLES[name]} stopped") for name in ("door", "worker", "llm", "temporal", "redis")]
    assert stopped == sorted(stopped)

    begun = time.monotonic()
    second = spawn(tmp_path, settings)
    wait_ready(tmp_path, second)
    print(f"second start: {time.monotonic() - begun:.1f} s")
    assert {name: (tmp_path / name).read_bytes() for name in secrets} == secrets
    assert is_healthy(f"http://127.0.0.1:{settings['COHORT_PORT']}")
    assert processes.end(second, grace=60)


def test_a_killed_supervisor_leaves_nothing_and_the_next_one_starts(tmp_path: Path) -> None:
    settings = environment(tmp_path, COHORT_DEMO="false")
    first = spawn(tmp_path, settings)
    wait_ready(tmp_path, first)
    family = processes.family(first.pid)
    first.kill()
    first.wait()
    wait_until(lambda: living(family) == [], seconds=10, what=f"the orphans to end: {family}")
    assert read_up(tmp_path), "it could not tidy up"

    second = spawn(tmp_path, settings)
    wait_ready(tmp_path, second)
    assert processes.end(second, grace=60)


def test_stopping_while_starting_leaves_nothing(tmp_path: Path) -> None:
    process = spawn(tmp_path, environment(tmp_path, COHORT_DEMO="false"))
    wait_until(lambda: len(read_up(tmp_path).get("processes", {})) >= 2, seconds=30, what="the first processes")
    family = processes.family(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert living(family) == []


def test_signals_of_the_same_moment_are_one_and_a_later_one_kills(tmp_path: Path) -> None:
    process = spawn(tmp_path, environment(tmp_path, COHORT_DEMO="false"))
    wait_ready(tmp_path, process)
    family = processes.family(process.pid)
    os.kill(int(read_up(tmp_path)["processes"]["worker"]["pid"]), signal.SIGSTOP)  # it will not stop by itself
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the kernel would merge equal ones
        process.send_signal(number)
    out = tmp_path / "up.out"
    wait_until(lambda: "Front door stopped" in out.read_text(), seconds=20, what="the front door to stop")
    assert "Killing" not in out.read_text()

    def impatient() -> bool:
        process.send_signal(signal.SIGTERM)
        return "Killing everything at once" in out.read_text()

    wait_until(impatient, seconds=10, what="a later signal to count")
    assert process.wait(30) == 0
    assert living(family) == []
    told = out.read_text()
    assert [f"{TITLES[name]} was killed" in told for name in ("worker", "llm", "temporal", "redis")] == [True] * 4


def test_a_demo_world_that_was_interrupted_or_lost_its_index_is_whole_after_the_next_start(
    tmp_path: Path, running: Stack
) -> None:
    settings = environment(tmp_path)
    first = spawn(tmp_path, settings)
    state = StateFolder(tmp_path).state
    wait_until(lambda: _demo(state) == "loading", seconds=120, what=(tmp_path / "up.out").read_text())
    first.kill()
    first.wait()

    with running_stack(tmp_path) as stack:
        assert _demo(state) == "loaded"
        for person in ("research", "sales", "partner"):
            assert _products(stack, person) == _products(running, person)

    shutil.rmtree(tmp_path / "vectors")
    with running_stack(tmp_path) as stack:
        assert _products(stack, "research", query="lamp") == _products(running, "research", query="lamp")


def _demo(state: Path) -> str:
    try:
        return json.loads(state.read_bytes()).get("demo", "")
    except FileNotFoundError:
        return ""


def _products(stack: Stack, person: str, **asked: str) -> int:
    answer = httpx.get(
        f"{stack.url}/api/v1/products",
        params={"limit": 1, **asked},
        headers={"X-API-Key": stack.keys[person]},
        timeout=30,
    )
    answer.raise_for_status()
    return int(answer.json()["pagination"]["total"])
