"""The whole stack in a temporary home, through the real supervisor, as a user starts it."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from stack import processes
from stack.resolved import StateFolder
from tests.support.environment import clean_environment
from tests.support.servers import free_port, wait_until

READY_WITHIN = 180
"""Seconds for a first start with its demo world, on a machine that does other things too."""


@dataclass(frozen=True)
class Stack:
    """A running stack: where it is, who may ask, and its supervisor."""

    home: Path
    url: str
    temporal_ui: str
    temporal_address: str
    keys: Mapping[str, str] = field(repr=False)
    process: subprocess.Popen[bytes]

    @property
    def output(self) -> str:
        """What the supervisor has shown so far."""
        return (self.home / "up.out").read_text()

    def up(self) -> dict[str, Any]:
        """What the supervisor notes about its processes; empty while it starts or after it has stopped."""
        return read_up(self.home)

    def pid(self, name: str) -> int:
        """The process id of `temporal`, `redis`, `llm`, `worker` or `door`."""
        return int(self.up()["processes"][name]["pid"])


def read_up(home: Path) -> dict[str, Any]:
    """What the supervisor of this home notes about its processes."""
    with contextlib.suppress(FileNotFoundError):
        return json.loads(StateFolder(home).up.read_bytes())
    return {}


def environment(home: Path, **settings: str) -> dict[str, str]:
    """An environment for a stack of its own: free ports, nothing inherited of another stack's settings."""
    clean = clean_environment()
    own = {
        "COHORT_HOME": str(home),
        "COHORT_PORT": str(free_port()),
        "COHORT_TEMPORAL_PORT": str(free_port()),
        "COHORT_TEMPORAL_UI_PORT": str(free_port()),
    }
    return {**clean, "PYTHONUNBUFFERED": "1", **own, **settings}


def spawn(home: Path, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a supervisor; its output goes to `up.out` in the home. It dies with the tests."""
    return processes.spawn([sys.executable, "-m", "stack.up"], log=home / "up.out", environment=settings)


def wait_ready(home: Path, process: subprocess.Popen[bytes], *, seconds: float = READY_WITHIN) -> None:
    """Wait until the whole stack is ready.

    Raises:
        AssertionError: the supervisor ended.
        TimeoutError: it was not ready in time.
    """

    def ready() -> bool:
        assert process.poll() is None, f"`cohort up` ended with {process.returncode}:\n{(home / 'up.out').read_text()}"
        return bool(read_up(home).get("ready"))

    wait_until(ready, seconds=seconds, what=f"the stack in {home}:\n{(home / 'up.out').read_text()}")


@contextlib.contextmanager
def running_stack(home: Path, **settings: str) -> Generator[Stack]:
    """A stack that is ready; stopped with SIGTERM at the end, and checked to have left nothing."""
    chosen = environment(home, **settings)
    process = spawn(home, chosen)
    family: list[psutil.Process] = []
    try:
        wait_ready(home, process)
        family = processes.family(process.pid)
        demo = StateFolder(home).demo
        told = json.loads(demo.read_bytes()) if demo.exists() else {}
        yield Stack(
            home=home,
            url=f"http://127.0.0.1:{chosen['COHORT_PORT']}",
            temporal_ui=f"http://127.0.0.1:{chosen['COHORT_TEMPORAL_UI_PORT']}",
            temporal_address=f"127.0.0.1:{chosen['COHORT_TEMPORAL_PORT']}",
            keys=told.get("keys", {}),
            process=process,
        )
    finally:
        family += processes.family(process.pid)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        left = [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        processes.kill(left)
        assert not left, f"left running: {left}"
