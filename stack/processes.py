"""Start processes that cannot outlive this one, and end whole process trees."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

GUARD = Path(__file__).with_name("guard.py")
LOG_BYTES = 20 * 1024 * 1024
"""Beyond this a log begins anew. One older log is kept beside it."""


def spawn(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, with its output appended to `log`.

    Its own session keeps a Ctrl-C in the terminal from reaching it, so that the supervisor alone decides the order in
    which things stop. Call it from the main thread: Linux ties the child to the thread that started it.

    Raises:
        OSError: the log cannot be written.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    rotate(log)
    guarded = [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), *command]
    with log.open("ab") as output:
        return subprocess.Popen(
            guarded,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )


def rotate(log: Path) -> bool:
    """Begin a log anew if it has grown too large, also while a process appends to it; returns whether it did.

    The process goes on in the same file, so the file is copied and emptied, not renamed; a line that is written just
    between the two is lost.
    """
    if not log.exists() or log.stat().st_size <= LOG_BYTES:
        return False
    shutil.copyfile(log, log.with_suffix(".log.1"))
    os.truncate(log, 0)
    return True


def family(pid: int) -> list[psutil.Process]:
    """The process and everything below it, as far as they live."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL to each that still lives. psutil checks the start time, so a reused pid is safe."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def end(process: subprocess.Popen[bytes], *, grace: float) -> bool:
    """Ask the process to stop (SIGTERM), and kill what is left of its tree after `grace` seconds.

    Blocks until all of it is gone. Returns whether it stopped by itself.
    """
    tree = family(process.pid)
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(grace)
        stopped = True
    except subprocess.TimeoutExpired:
        stopped = False
    tree = [*tree, *family(process.pid)]
    kill(tree)
    process.wait()
    psutil.wait_procs(tree, timeout=5)
    return stopped


def how_it_ended(code: int) -> str:
    """A return code of Popen in words."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


def last_lines(log: Path, count: int = 8) -> str:
    """The end of a log, for a message about why its process did not start."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4_096))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])


def started_at(pid: int) -> float | None:
    """When a living process was started (Unix time), or None: tells a process from another that reused its pid."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None
