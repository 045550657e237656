"""What is looked at before anything is started, so that nothing is ever half started."""

import errno
import os
import socket
from collections.abc import Iterator

import psutil
from sqlalchemy.exc import SQLAlchemyError

from stack import programs, temporal
from stack.home import CannotStart
from stack.resolved import Resolved
from stack.services import redis_answers
from stack.settings import Settings, provider_environment
from storage import migrate


async def check(settings: Settings, where: Resolved) -> None:
    """Look at keys, programs, ports, the database and the servers of your own.

    Raises:
        CannotStart: the first thing that stands in the way.
    """
    _check_keys(settings)
    if settings.temporal_address is None:
        programs.temporal()
    if settings.redis_url is None:
        programs.redis_server()
    if settings.wants_local_llm():
        programs.local_model()
    check_ports(settings)
    await _check_database(settings, where)
    if settings.temporal_address and not await temporal.is_ready(where.temporal_address, where.temporal_namespace):
        raise CannotStart(
            f"No Temporal server with the namespace {where.temporal_namespace!r} answers at {where.temporal_address}: "
            "start it, or unset COHORT_TEMPORAL_ADDRESS for an embedded one."
        )
    if settings.redis_url and not await redis_answers(where.redis_url):
        raise CannotStart(
            "No Redis server answers at COHORT_REDIS_URL with the password given there: "
            "start it, or unset the setting for an embedded one."
        )


def _check_keys(settings: Settings) -> None:
    """Whether the keys that routes name are there. What a provider needs besides, the worker says: it has LiteLLM."""
    there = {**provider_environment(), **os.environ}
    for route in settings.providers:
        if route.api_key_env is not None and not there.get(route.api_key_env):
            raise CannotStart(
                f"{route.api_key_env} is not set, which COHORT_PROVIDERS names for the key of the route {route.name}: "
                "set it in the environment or in .env, or take the route out."
            )


def check_ports(settings: Settings) -> None:
    """Whether the stack's own ports are free.

    Raises:
        CannotStart: naming the port, the setting that changes it, and who holds it if that can be seen.
    """
    seen: dict[int, str] = {}
    for name, host, port in _ports(settings):
        if port in seen:
            raise CannotStart(f"{seen[port]} and {name} are both {port}: give each a port of its own.")
        seen[port] = name
        _check_port(name, host, port)


def _ports(settings: Settings) -> Iterator[tuple[str, str, int]]:
    yield "COHORT_PORT", settings.host, settings.port
    if settings.temporal_address is None:
        yield "COHORT_TEMPORAL_PORT", "127.0.0.1", settings.temporal_port
        yield "COHORT_TEMPORAL_UI_PORT", "127.0.0.1", settings.temporal_ui_port


def _check_port(name: str, host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # as servers do: a port in TIME_WAIT is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        raise CannotStart(f"COHORT_HOST is {host!r}, which is no address of this machine.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(
                f"Port {port} is taken{_holder(port)}: end that, or choose another with {name}."
            ) from None
        if error.errno == errno.EACCES:
            raise CannotStart(
                f"Port {port} needs more rights than you have: choose one above 1023 with {name}."
            ) from None
        raise CannotStart(f"Nothing can listen on {host}:{port} ({error.strerror}): change COHORT_HOST.") from None


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections("tcp")
        for connection in connections:
            if connection.status == psutil.CONN_LISTEN and _port_of(connection.laddr) == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return " by another process, perhaps one of another user or another `cohort up`"


def _port_of(address: object) -> int | None:
    """The port of psutil's address, which is an empty tuple where there is none."""
    return getattr(address, "port", None)


async def _check_database(settings: Settings, where: Resolved) -> None:
    if settings.database_url is None and not where.folder.database.exists():
        return
    try:
        state = await migrate.state(where.database_url)
    except (SQLAlchemyError, OSError) as error:
        reason = type(getattr(error, "orig", None) or error).__name__
        which = "of COHORT_DATABASE_URL" if settings.database_url else str(where.folder.database)
        raise CannotStart(
            f"The database {which} cannot be used ({reason}): check that it is there and that it is one of Cohort's."
        ) from None
    if state is migrate.State.NEWER:
        which = (
            "The database of COHORT_DATABASE_URL" if settings.database_url else f"The state folder {where.folder.path}"
        )
        raise CannotStart(
            f"{which} was written by a newer version of Cohort: update Cohort, or choose another "
            f"with {'COHORT_DATABASE_URL' if settings.database_url else 'COHORT_HOME'}."
        )
