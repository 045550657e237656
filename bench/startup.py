"""What the processes weigh: import time and memory of the front door, start-up time of the worker."""

import subprocess
import sys
import time
from typing import Any

import psutil

from bench.stack import Running

HEAVY = ("litellm", "lancedb", "onnxruntime", "pyarrow", "numpy")


def measure(stack: Running) -> dict[str, Any]:
    """Import time in seconds, memory in MB, the heavy modules that the front door has loaded (none, it is hoped)."""
    probe = f"import sys, mcp_server.app; print([name for name in {HEAVY!r} if name in sys.modules])"
    begin = time.perf_counter()
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.strip()
    bare = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    interpreter = time.perf_counter() - bare
    tree = psutil.Process(stack.pid).children(recursive=True)
    return {
        "door import, s": bare - begin - interpreter,
        "door memory, MB": _rss(tree, "mcp_server.app"),
        "worker memory, MB": _rss(tree, "activities.worker"),
        "heavy modules in the door": loaded,
        "worker ready, s": _worker_start(stack),
    }


def _rss(tree: list[psutil.Process], module: str) -> float:
    return max((p.memory_info().rss / 2**20 for p in tree if module in p.cmdline()), default=float("nan"))


def _worker_start(stack: Running) -> float:
    """A second worker beside the first, until it says that it polls."""
    worker = next(p for p in psutil.Process(stack.pid).children(recursive=True) if "activities.worker" in p.cmdline())
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "activities.worker"], env=worker.environ(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "cohort-worker ready" in line:
            break
    took = time.perf_counter() - begin
    process.terminate()
    process.wait(60)
    return took
