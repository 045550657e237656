"""What stands before the MCP transport: key, method, size, depth and encoding are checked before any session work."""

from typing import Any

from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import INVALID_PARAMS, PARSE_ERROR
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import ERRORS, CohortError, ErrorCode
from mcp_server import envelope
from mcp_server.bodies import MAX_BODY, parse_json, read_body
from mcp_server.door import Door
from mcp_server.http import Reply, error_headers, ids_of, wrong_method
from mcp_server.identity import Ids, token_of

PATH = "/mcp"


def session_manager(mcp: Server[Any]) -> StreamableHTTPSessionManager:
    """The transport. Host and Origin have been checked before (`mcp_server.hosts`), for both doors alike."""
    return StreamableHTTPSessionManager(
        mcp,
        stateless=True,
        max_request_body_size=MAX_BODY,
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )


class Gate:
    """The ASGI app at `/mcp`."""

    def __init__(self, inner: ASGIApp, door: Door) -> None:
        self._inner = inner
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request with a valid key and an acceptable body through to the transport."""
        request = Request(scope, receive)
        ids = ids_of(request)
        refusal = self._method(request, ids)
        if refusal is None:
            try:
                await self._door.check(token_of(request.headers))
                ids.check()
                body = await read_body(receive, request.headers.get("content-length"))
                parse_json(body)
            except CohortError as error:
                refusal = refused(ids, error)
            else:
                await self._inner(scope, _replay(body, receive), send)
                return
        await refusal(scope, receive, send)

    def _method(self, request: Request, ids: Ids) -> Response | None:
        """Only POST: a stateless server has no stream to GET and no session to DELETE."""
        if request.method == "POST":
            return None
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": "OPTIONS, POST"})
        return wrong_method(ids, request.method, "OPTIONS, POST")


def refused(ids: Ids, error: CohortError, status: int | None = None) -> Reply:
    """A JSON-RPC error without an id, as the message was not looked at; its data is the usual envelope."""
    code = ERRORS[error.code].protocol_code or INVALID_PARAMS
    if error.code == ErrorCode.INVALID_ARGUMENT and "valid JSON" in error.message:
        code = PARSE_ERROR
    said = {"code": code, "message": error.message, "data": envelope.failure(ids, error)}
    usual = 401 if error.code == ErrorCode.UNAUTHENTICATED else 400
    return Reply({"jsonrpc": "2.0", "id": None, "error": said}, status or usual, error_headers(error))


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once more, then whatever the connection has to say (that the caller is gone)."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
