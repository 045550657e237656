"""`cohort up`: the whole stack in one terminal."""

import asyncio
import os
import signal
import sys
import time
from typing import NoReturn

from stack import demo, home, leftovers, preflight, services
from stack.concurrency import together, unless
from stack.home import CannotStart
from stack.resolved import Resolved
from stack.screen import Screen
from stack.settings import BadSettings, Settings
from stack.supervisor import LOOK_EVERY, DidNotStart, Supervisor
from storage import migrate

STOPPED, FAILED, REFUSED = 0, 1, 2
"""Exit codes; `cohort up --help` explains them."""
SAME_MOMENT = 1.0
"""Seconds in which a second signal counts as the same one: a terminal, `timeout` and make may each send theirs."""
NOTICES_WITHIN = 30.0
"""Seconds for which the page waits for what the worker finds wrong with the providers."""


def run() -> int:
    """Run the stack until it is stopped; gives the exit code."""
    screen = Screen()
    os.umask(0o077)  # everything below the state folder is its owner's alone
    _reach_loopback_directly()
    try:
        settings = Settings.load()
        folder = settings.state_folder()
        home.make(folder)
        with home.locked(folder):
            home.read_state(folder)
            home.make_secrets(folder, own_secret=settings.secret_key is not None)
            return asyncio.run(_run(settings, settings.resolved(), screen))
    except (BadSettings, CannotStart) as why:
        print(f"cohort: {why}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        return STOPPED


async def _run(settings: Settings, where: Resolved, screen: Screen) -> int:
    stopping = asyncio.Event()
    supervisor = Supervisor(where.folder, screen.say)

    asked = 0.0

    def stop() -> None:
        nonlocal asked
        if not stopping.is_set():
            asked = time.monotonic()
            stopping.set()
        elif time.monotonic() - asked > SAME_MOMENT:
            screen.say("Killing everything at once")
            supervisor.kill()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)

    leftovers.end(where.folder, screen.say)
    await preflight.check(settings, where)
    home.write_state(where.folder)
    demo.repeat_without_index(where)
    code = STOPPED
    try:
        if await unless(stopping, _bring_up(supervisor, settings, where, screen)):
            await stopping.wait()
        screen.say("Stopping")
    except DidNotStart as why:
        screen.say(str(why))
        code = FAILED
    finally:
        await supervisor.stop()
    screen.say("Everything has stopped")
    return code


async def _bring_up(supervisor: Supervisor, settings: Settings, where: Resolved, screen: Screen) -> None:
    model = services.local_model() if settings.wants_local_llm() else None

    async def house() -> None:
        await together(supervisor.start(_servers(settings, where)), _migrate(where, screen))
        await supervisor.start([services.worker(where, model), services.front_door(where)])

    await together(house(), supervisor.start([model.service] if model else []))
    keys = await demo.bring(where, screen) if settings.demo else {}
    notices = [] if settings.wants_local_llm() else await _notices(supervisor)
    supervisor.all_ready = True
    supervisor.note()
    screen.page(where, keys, notices)


async def _notices(supervisor: Supervisor) -> list[str]:
    """What the worker has found wrong with the providers; it knows some seconds after it is ready."""
    latest = time.monotonic() + NOTICES_WITHIN
    while services.WORKER_CHECKED not in (said := supervisor.output("worker")) and time.monotonic() < latest:
        await asyncio.sleep(LOOK_EVERY)
    notice = services.WORKER_NOTICE
    return [line.removeprefix(notice).decode() for line in said.splitlines() if line.startswith(notice)]


def _servers(settings: Settings, where: Resolved) -> list[services.Service]:
    """What worker and front door stand on, as far as it is not elsewhere."""
    own: list[services.Service] = []
    if settings.redis_url is None:
        own.append(services.redis_server(where))
    if settings.temporal_address is None:
        own.append(services.temporal_server(settings, where))
    return own


async def _migrate(where: Resolved, screen: Screen) -> None:
    if await migrate.state(where.database_url) is not migrate.State.CURRENT:
        await migrate.upgrade(where.database_url)
        screen.say("The database's tables are up to date")


def _reach_loopback_directly() -> None:
    """Keep an HTTP proxy of the environment out of what the stack's processes say to each other."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join([*filter(None, [os.environ.get(name)]), "127.0.0.1", "localhost"])


def main() -> NoReturn:
    """The command: run the stack, then end this process at once.

    Temporal's client keeps threads of its own, which can abort an interpreter that is being taken down
    (temporalio/sdk-python#300). Everything has been stopped and written by then, so nothing is left to take down.
    """
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
