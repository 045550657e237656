"""Starts the processes of the stack, notices when one ends, starts it again, and stops all of them in order."""

import asyncio
import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from stack import processes
from stack.concurrency import together
from stack.home import write_private
from stack.resolved import StateFolder
from stack.services import STOP_ORDER, Service, log_since

LOOK_EVERY = 0.1
"""Seconds between two looks at a process: how late its end is noticed at most."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
STABLE = 60.0
"""Seconds after which a process counts as sound, so that its next restart is quick again."""


class DidNotStart(Exception):
    """A process ended or was not ready in time; the message names its log and shows the end of it."""


@dataclass
class Child:
    """A service with its present process."""

    service: Service
    process: subprocess.Popen[bytes]
    log_offset: int
    since: float
    ready: bool = False
    restarts: int = 0


class Supervisor:
    """The processes of one stack; `say` is given one sentence for each thing that a person should know."""

    def __init__(self, folder: StateFolder, say: Callable[[str], None]) -> None:
        """Nothing is started yet."""
        self._folder = folder
        self._say = say
        self._children: dict[str, Child] = {}
        self._watches: list[asyncio.Task[None]] = []
        self.all_ready = False

    async def start(self, services: Iterable[Service]) -> None:
        """Start these at the same time, and return once all are ready.

        Raises:
            DidNotStart: one of them did not become ready.
        """
        await together(*(self._start(service) for service in services))

    async def stop(self) -> None:
        """Stop everything, callers before those they call, and return when nothing is left."""
        self.all_ready = False
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        for child in sorted(self._children.values(), key=lambda child: STOP_ORDER.index(child.service.name)):
            begun = time.monotonic()
            willing = await asyncio.to_thread(processes.end, child.process, grace=child.service.grace)
            how = "was killed" if child.process.returncode == -signal.SIGKILL else "stopped"
            if not willing:
                how = f"did not stop in {child.service.grace:.0f} s and was killed"
            self._say(f"{child.service.title} {how} ({time.monotonic() - begun:.1f} s)")
        self._children.clear()
        self._folder.up.unlink(missing_ok=True)

    def output(self, name: str) -> bytes:
        """What the present process of a service has written to its log."""
        child = self._children[name]
        return log_since(self._log(child.service), child.log_offset)

    def kill(self) -> None:
        """Kill everything at once; `stop`, which is under way, then comes to its end."""
        for child in self._children.values():
            processes.kill(processes.family(child.process.pid))

    def note(self) -> None:
        """Write down what runs, for `stack.leftovers` and for whoever wants to look."""
        content = {
            "ready": self.all_ready and all(child.ready for child in self._children.values()),
            "processes": {
                name: {
                    "pid": child.process.pid,
                    "started": processes.started_at(child.process.pid),
                    "ready": child.ready,
                    "restarts": child.restarts,
                }
                for name, child in self._children.items()
            },
        }
        write_private(self._folder.up, json.dumps(content, indent=2).encode())

    async def _start(self, service: Service) -> None:
        child = self._children[service.name] = self._spawn(service)
        self.note()
        await self._become_ready(child)
        self._say(f"{service.title} is ready ({time.monotonic() - child.since:.1f} s)")
        self._watches.append(asyncio.create_task(self._keep(child)))

    def _spawn(self, service: Service) -> Child:
        log = self._log(service)
        offset = log.stat().st_size if log.exists() else 0
        process = processes.spawn(service.command, log=log, environment=service.environment)
        if log.stat().st_size < offset:
            offset = 0  # it was rotated
        return Child(service, process, offset, time.monotonic())

    async def _become_ready(self, child: Child) -> None:
        service, log = child.service, self._log(child.service)
        while True:
            if (code := child.process.poll()) is not None:
                raise DidNotStart(
                    f"{service.title} ended before it was ready ({processes.how_it_ended(code)}). "
                    f"The end of {log}:\n{processes.last_lines(log)}"
                )
            if await service.ready(log_since(log, child.log_offset)):
                break
            if time.monotonic() - child.since > service.within:
                raise DidNotStart(
                    f"{service.title} was not ready within {service.within:.0f} s. "
                    f"The end of {log}:\n{processes.last_lines(log)}"
                )
            await asyncio.sleep(LOOK_EVERY / 2)
        child.ready = True
        self.note()

    async def _keep(self, child: Child) -> None:
        """Watch one process, and start it again whenever it has ended."""
        pause, title = FIRST_PAUSE, child.service.title
        while True:
            while (code := child.process.poll()) is None:
                with contextlib.suppress(OSError):  # a full disk must not end the watch
                    if processes.rotate(self._log(child.service)):
                        child.log_offset = 0
                await asyncio.sleep(LOOK_EVERY)
            child.ready = False
            if time.monotonic() - child.since > STABLE:
                pause = FIRST_PAUSE
            self._say(
                f"{title} ended ({processes.how_it_ended(code)}); starting it again in {pause:.1f} s. "
                f"Its log: {self._log(child.service)}"
            )
            self.note()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            await self._again(child)

    async def _again(self, child: Child) -> None:
        fresh = self._spawn(child.service)
        child.process, child.log_offset, child.since = fresh.process, fresh.log_offset, fresh.since
        child.restarts += 1
        self.note()
        try:
            await self._become_ready(child)
        except DidNotStart as why:
            self._say(str(why))
            with contextlib.suppress(ProcessLookupError):
                await asyncio.to_thread(processes.end, child.process, grace=child.service.grace)
        else:
            self._say(f"{child.service.title} is ready again ({time.monotonic() - child.since:.1f} s)")

    def _log(self, service: Service) -> Path:
        return self._folder.logs / f"{service.name}.log"
