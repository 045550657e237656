"""`cohort mcp`: MCP on standard input and output for clients that start a process; every call goes to a front door.

It never talks to Temporal, and keeps nothing: a front door that was restarted is simply reached again.
"""

import asyncio
import sys
from typing import Any, TypeVar, cast

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ListToolsRequest,
    ListToolsResult,
    PaginatedRequestParams,
    Request,
    RequestParamsMeta,
)
from mcp_types import Result as AnyResult
from mcp_types.version import LATEST_MODERN_VERSION

from mcp_server.identity import CORRELATION
from mcp_server.tools import INSTRUCTIONS
from stack.settings import Settings

CALL_SECONDS = 150.0
"""Longer than any operation's deadline: the front door ends a call, not this bridge."""

Result = TypeVar("Result", bound=AnyResult)
Context = ServerRequestContext[Any, Any]


class _Stranger(httpx2.TransportError):
    """What answers is not a front door of Cohort: every answer of one has an id to follow it by."""


class Bridge:
    """Forwards tool listings and calls to the front door at `url` with `key`."""

    def __init__(self, url: str, key: str, *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._url = url.rstrip("/")
        self._http = httpx2.AsyncClient(
            headers={"X-API-Key": key, "X-User-Agent": "cohort-mcp-stdio"},
            timeout=httpx2.Timeout(CALL_SECONDS, connect=5),
            transport=transport,
            event_hooks={"response": [_check]},
        )

    def server(self) -> Server[Any]:
        """The MCP server that a client on stdio talks to."""
        return Server[Any](
            "cohort",
            title="Cohort",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )

    async def probe(self) -> None:
        """Say on standard error what is wrong with the front door or the key, if anything is."""
        try:
            await self._exchange(ListToolsRequest(), ListToolsResult)
        except MCPError as error:
            _say(f"{error.message} Still serving: calls will work once this is mended.")

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def _exchange(
        self, request: Request[Any, Any], result: type[Result], tell: ProgressFnT | None = None
    ) -> Result:
        """One request and its result, over a client of its own: the modern revision has no session to open.

        Raises:
            MCPError: the front door's own, or that it does not answer.
        """
        refused: MCPError | None = None
        transport = streamable_http_client(f"{self._url}/mcp", http_client=self._http)
        try:
            async with Client(transport, mode=LATEST_MODERN_VERSION, cache=None) as door:
                try:
                    return await door.session.send_request(request, result, CALL_SECONDS, progress_callback=tell)
                except MCPError as error:
                    refused = error  # raised outside: the client's task groups would wrap it
        except* httpx2.TransportError as errors:
            refused = self._away(errors)
        assert refused is not None
        raise refused

    def _away(self, errors: BaseExceptionGroup[httpx2.TransportError]) -> MCPError:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        if isinstance(first, _Stranger):
            return MCPError(INTERNAL_ERROR, f"What answers at {self._url} is not Cohort ({first}). Check COHORT_URL.")
        return MCPError(
            INTERNAL_ERROR,
            f"The front door at {self._url} does not answer ({type(first).__name__}). Start one with `cohort up`, or "
            "set COHORT_URL to where yours is.",
        )

    async def _list_tools(self, _: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        return await self._exchange(ListToolsRequest(params=params), ListToolsResult)

    async def _call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        async def tell(progress: float, total: float | None, message: str | None) -> None:
            await context.session.report_progress(progress, total, message)

        asked = CallToolRequestParams(name=params.name, arguments=params.arguments, _meta=_own(context.meta))
        wants = context.meta is not None and "progress_token" in context.meta
        return await self._exchange(CallToolRequest(params=asked), CallToolResult, tell if wants else None)


async def _check(response: httpx2.Response) -> None:
    if CORRELATION not in response.headers:
        raise _Stranger(f"status {response.status_code}")


def _own(meta: RequestParamsMeta | None) -> RequestParamsMeta | None:
    """What the client said about the call; what belongs to this hop of the protocol stays here."""
    kept = {
        name: value
        for name, value in (meta or {}).items()
        if name != "progress_token" and not name.startswith("io.modelcontextprotocol/")
    }
    return cast(RequestParamsMeta, kept) or None


def run(settings: Settings) -> int:
    """Serve until standard input ends; gives the exit code."""
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    if not key:
        _say("Set COHORT_API_KEY to your key in this MCP server's environment.")
        return 2
    asyncio.run(_serve(Bridge(settings.url, key)))
    return 0


async def _serve(bridge: Bridge) -> None:
    server = bridge.server()
    probe = asyncio.create_task(bridge.probe())  # beside serving, so that a client need not wait for it
    try:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())
    finally:
        probe.cancel()
        await asyncio.wait({probe})
        await bridge.close()


def _say(message: str) -> None:
    sys.stderr.write(f"cohort mcp: {message}\n")
