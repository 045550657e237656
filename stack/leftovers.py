"""End what a supervisor left behind that was killed; on Linux the kernel has done so already (`stack.guard`)."""

import json
from collections.abc import Callable

from stack import processes
from stack.resolved import StateFolder


def end(folder: StateFolder, say: Callable[[str], None]) -> None:
    """End the processes that `up.json` names and that still run; call it with the folder locked.

    A pid alone is no proof, since it may have been given to another process: the time of its start must agree too.
    """
    try:
        noted = json.loads(folder.up.read_bytes())["processes"]
    except (FileNotFoundError, ValueError, KeyError):
        return
    for name, process in noted.items():
        pid, started = int(process["pid"]), process["started"]
        if started is not None and processes.started_at(pid) == started:
            processes.kill(processes.family(pid))
            say(f"Ended {name} (process {pid}), which an earlier start had left behind")
    folder.up.unlink(missing_ok=True)
