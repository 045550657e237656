"""A whole running Cohort for one bench run: free ports, a folder of its own, ended afterwards."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_WITHIN = 180.0


@dataclass(frozen=True)
class Running:
    """Where the stack answers. `keys` by user, `pid` of the supervisor."""

    url: str
    temporal: str
    keys: dict[str, str]
    home: Path
    pid: int


@contextlib.contextmanager
def running(**settings: str) -> Generator[Running]:
    """Start `cohort up` with the demo world, wait until it is loaded, stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="cohort-bench-") as folder:
        home = Path(folder) / "home"
        ports = free_ports(3)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("COHORT_")}
        environment = clean | {
            "COHORT_HOME": str(home),
            "COHORT_PORT": str(ports[0]),
            "COHORT_TEMPORAL_PORT": str(ports[1]),
            "COHORT_TEMPORAL_UI_PORT": str(ports[2]),
            **settings,
        }
        log = (Path(folder) / "up.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "mcp_server.cli", "up"], env=environment, stdout=log, stderr=log, cwd=folder
        )
        try:
            demo = _wait_for(home / "demo.json", process, Path(folder) / "up.log")
            yield Running(demo["url"], f"127.0.0.1:{ports[1]}", demo["keys"], home, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            log.close()


def _wait_for(demo: Path, process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        if demo.exists() and "Cohort is ready" in log.read_text(errors="replace"):
            return json.loads(demo.read_text())
        time.sleep(0.2)
    raise SystemExit(f"The stack did not start. Its output:\n{log.read_text(errors='replace')}")


def free_ports(count: int) -> list[int]:
    """That many TCP ports of loopback that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
