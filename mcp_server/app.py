"""The front door: one Starlette app with REST, MCP, OpenAPI, docs, uploads and the codec endpoint."""

import contextlib
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from temporalio.client import Interceptor

from domain.errors import CohortError
from mcp_server import codec, envelope, logs, mcp_gate, openapi, page, rest, upload_door
from mcp_server.dispatch import Dispatcher
from mcp_server.door import Door
from mcp_server.engine import TemporalEngine, connect
from mcp_server.hosts import Hosts
from mcp_server.http import Outermost, Reply, Resource, ids_of, on_fault, on_http, on_refusal
from mcp_server.mcp_door import server
from mcp_server.operations import OPERATIONS, Operation
from mcp_server.version import version
from stack import telemetry
from stack.settings import BadSettings, Settings
from storage.answers import Answers
from storage.identity import Database, Identity, Secrets
from storage.uploads import Uploads
from workflows.converter import SealingCodec, data_converter

STOP_SECONDS = 8
"""How long a stopping front door lets its callers have their answers."""


def create_app(
    settings: Settings, operations: dict[str, Operation] = OPERATIONS, *, interceptors: Sequence[Interceptor] = ()
) -> Starlette:
    """The app of one front-door process. Nothing is connected before the first call needs it.

    Raises:
        BadSettings: there is no master secret.
    """
    resolved = settings.resolved()
    secrets = Secrets(resolved.secret)
    payloads = secrets.key("payloads")
    database = Database.open(resolved.database_url)
    engine = TemporalEngine(
        partial(connect, resolved.temporal_address, resolved.temporal_namespace, data_converter(payloads), interceptors)
    )
    dispatcher = Dispatcher(engine)
    identity, answers = Identity(database, secrets.key("api-keys")), Answers(database, secrets.key("answers"))
    door = Door(identity, dispatcher, answers, version())
    manager = mcp_gate.session_manager(server(operations, door, version()))
    ui = f":{settings.temporal_ui_port}"

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with manager.run():
            yield
            await dispatcher.close(STOP_SECONDS)
        await database.close()

    app = Starlette(
        routes=[
            *rest.routes(operations, door),
            upload_door.route(door, Uploads(resolved.uploads_url)),
            Route(mcp_gate.PATH, endpoint=mcp_gate.Gate(manager.handle_request, door)),
            *codec.routes(
                SealingCodec(payloads), resolved.codec_token, (f"http://127.0.0.1{ui}", f"http://localhost{ui}"), door
            ),
            Route("/api/v1/health", endpoint=Resource({"GET": _alive})),
            *openapi.routes(operations, version()),
            *page.routes(operations, version()),
            Route("/", endpoint=Resource({"GET": _to_docs})),
        ],
        middleware=[Middleware(Outermost), Middleware(Hosts, names=[settings.host, *settings.allowed_hosts])],
        exception_handlers={CohortError: on_refusal, HTTPException: on_http, Exception: on_fault},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # an address is right or it is not there
    return app


async def _alive(request: Request) -> Response:
    """Liveness: no key, no workflow."""
    ids_of(request).check()
    return Reply(envelope.success(ids_of(request), {"status": "ok", "version": version()}))


async def _to_docs(_: Request) -> Response:
    return RedirectResponse("/docs")


class _Server(uvicorn.Server):
    """Says on standard output that it serves: the supervisor waits for that line."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        if self.started:
            sys.stdout.write("cohort-door ready\n")
            sys.stdout.flush()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; calls in flight get their answers first."""
    logs.configure(settings.log_level)
    traces = telemetry.start("cohort-door", settings.otlp_endpoint, version=version())
    config = uvicorn.Config(
        create_app(settings, interceptors=traces.interceptors),
        host=settings.host,
        port=settings.port,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    try:
        _Server(config).run()
    finally:
        traces.close()


def main() -> None:
    """`python -m mcp_server.app`."""
    try:
        serve(Settings.load())
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
