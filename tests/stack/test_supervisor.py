"""The supervisor with small processes: it notices, says, mends and ends."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from stack import home, leftovers, processes
from stack.resolved import StateFolder
from stack.services import Service
from stack.supervisor import DidNotStart, Supervisor
from tests.support.servers import wait_until
from tests.support.stack import read_up

OBEDIENT = "import time; print('ready', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + OBEDIENT
WITH_A_CHILD = (
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); " + OBEDIENT
)


def service(code: str, name: str = "worker", **limits: float) -> Service:
    async def ready(log: bytes) -> bool:
        return b"ready" in log

    return Service(name, name.title(), [sys.executable, "-c", code], ready, dict(os.environ), **limits)


class Stage:
    """A supervisor in a temporary home, and what it said."""

    def __init__(self, folder: StateFolder) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.supervisor = Supervisor(folder, self.said.append)

    def pid(self, name: str = "worker") -> int:
        return int(read_up(self.folder.path)["processes"][name]["pid"])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.02)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    folder = StateFolder(tmp_path)
    home.make(folder)
    stage = Stage(folder)
    yield stage
    await stage.supervisor.stop()


async def test_a_killed_process_is_said_and_mended(stage: Stage) -> None:
    await stage.supervisor.start([service(OBEDIENT)])
    first = stage.pid()
    os.kill(first, signal.SIGKILL)
    await stage.until(lambda: any("is ready again" in line for line in stage.said))
    assert stage.pid() != first
    ended = next(line for line in stage.said if "ended" in line)
    assert "Worker ended (signal SIGKILL); starting it again in 0.5 s" in ended
    assert str(stage.folder.logs / "worker.log") in ended


async def test_the_log_of_a_running_process_is_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 100_000)
    talkative = """
import time
print('ready', flush=True)
for number in range(200):
    print(number, 'x' * 5_000, flush=True)
    time.sleep(0.005)
print('the last line', flush=True)
time.sleep(600)
"""
    await stage.supervisor.start([service(talkative)])
    log, older = (stage.folder.logs / name for name in ("worker.log", "worker.log.1"))
    pid = stage.pid()
    await stage.until(lambda: any("the last line" in path.read_text() for path in (log, older) if path.exists()))
    await stage.until(lambda: log.stat().st_size <= 100_000)
    assert "x" * 5_000 in older.read_text()
    assert older.stat().st_size < 500_000, "half of what was written at most"
    assert "\0" not in log.read_text() + older.read_text()
    assert stage.pid() == pid


async def test_the_pauses_between_restarts_grow(stage: Stage) -> None:
    await stage.supervisor.start([service(OBEDIENT)])
    for times in (1, 2):
        os.kill(stage.pid(), signal.SIGKILL)
        await stage.until(lambda times=times: sum("ready again" in line for line in stage.said) == times)
    assert [line.split(" in ")[1].split(" s.")[0] for line in stage.said if "ended" in line] == ["0.5", "1.0"]


async def test_stopping_ends_the_whole_tree(stage: Stage) -> None:
    await stage.supervisor.start([service(WITH_A_CHILD)])
    family = processes.family(stage.pid())
    assert len(family) == 2
    await stage.supervisor.stop()
    assert not any(process.is_running() for process in family)
    assert read_up(stage.folder.path) == {}


async def test_who_does_not_stop_is_killed(stage: Stage) -> None:
    await stage.supervisor.start([service(STUBBORN, grace=0.3)])
    pid = stage.pid()
    await stage.supervisor.stop()
    assert not psutil.pid_exists(pid)
    assert any("did not stop" in line for line in stage.said)


async def test_callers_stop_before_those_they_call(stage: Stage) -> None:
    await stage.supervisor.start([service(OBEDIENT, name) for name in ("redis", "worker", "temporal", "door")])
    stage.said.clear()
    await stage.supervisor.stop()
    assert [line.split(" ")[0] for line in stage.said] == ["Door", "Worker", "Temporal", "Redis"]


async def test_one_that_ends_at_once_shows_its_last_words(stage: Stage) -> None:
    with pytest.raises(DidNotStart, match=r"Worker ended before it was ready \(exit code 3\)(?s:.*)no such thing"):
        await stage.supervisor.start([service("import sys; print('no such thing'); sys.exit(3)")])


async def test_one_that_never_becomes_ready_is_given_up(stage: Stage) -> None:
    with pytest.raises(DidNotStart, match=r"not ready within 0 s"):
        await stage.supervisor.start([service("import time; time.sleep(600)", within=0.3)])


async def test_readiness_of_an_earlier_run_does_not_count(stage: Stage) -> None:
    (stage.folder.logs / "worker.log").write_text("ready\n")
    with pytest.raises(DidNotStart):
        await stage.supervisor.start([service("import time; time.sleep(600)", within=0.3)])


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    parent_code = f"""
import sys, time
from pathlib import Path
from stack.processes import spawn
child = spawn([sys.executable, "-c", "import time; time.sleep(600)"], log=Path({str(tmp_path / "child.log")!r}))
Path({str(tmp_path / "pid")!r}).write_text(str(child.pid))
time.sleep(600)
"""
    parent = processes.spawn([sys.executable, "-c", parent_code], log=tmp_path / "parent.log", environment=os.environ)
    noted = tmp_path / "pid"
    wait_until(lambda: noted.exists() and bool(noted.read_text()), seconds=20, what="the child")
    pid = int(noted.read_text())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    wait_until(lambda: not _alive(pid), seconds=5, what="the orphan to be killed")


def test_leftovers_are_ended_and_strangers_are_not(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    home.make(folder)
    ours, stranger = (
        processes.spawn([sys.executable, "-c", "import time; time.sleep(600)"], log=tmp_path / "log") for _ in range(2)
    )
    began = processes.started_at(stranger.pid)
    assert began is not None
    content = {"worker": (ours.pid, processes.started_at(ours.pid)), "door": (stranger.pid, began - 100)}
    noted = {name: {"pid": pid, "started": started} for name, (pid, started) in content.items()}
    home.write_private(folder.up, json.dumps({"processes": noted}).encode())
    said: list[str] = []
    leftovers.end(folder, said.append)
    try:
        assert ours.wait(5) == -signal.SIGKILL
        assert stranger.poll() is None
        assert len(said) == 1
    finally:
        processes.end(stranger, grace=5)


def test_a_log_that_has_grown_large_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 10)
    log = tmp_path / "worker.log"
    log.write_text("x" * 11)
    begun = time.monotonic()
    processes.spawn([sys.executable, "-c", "print('new')"], log=log).wait(20)
    assert log.read_text() == "new\n"
    assert (tmp_path / "worker.log.1").read_text() == "x" * 11
    assert time.monotonic() - begun < 20


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
