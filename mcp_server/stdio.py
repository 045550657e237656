"""`cohort mcp`: MCP on standard input and output for clients that start a process; every call goes to a front door.

It never talks to Temporal, and keeps nothing: a front door that was restarted is simply reached again.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ListToolsRequest,
    ListToolsResult,
    PaginatedRequestParams,
    RequestParamsMeta,
)
from mcp_types.version import LATEST_MODERN_VERSION

from mcp_server.mcp_door import INSTRUCTIONS
from stack.settings import Settings

CALL_SECONDS = 150.0
"""Longer than any operation's deadline: the front door ends a call, not this bridge."""

Context = ServerRequestContext[Any, Any]


class Bridge:
    """Forwards tool listings and calls to the front door at `url` with `key`."""

    def __init__(self, url: str, key: str, *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._url = url.rstrip("/")
        self._http = httpx2.AsyncClient(
            headers={"X-API-Key": key, "X-User-Agent": "cohort-mcp-stdio"},
            timeout=httpx2.Timeout(CALL_SECONDS, connect=5),
            transport=transport,
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

    async def probe(self) -> str | None:
        """What is wrong with the front door or the key, or None."""
        try:
            async with self._door() as door:
                await door.list_tools()
        except MCPError as error:
            return error.message
        return None

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    @asynccontextmanager
    async def _door(self) -> AsyncGenerator[Client]:
        """A client for one exchange: the modern revision has no session, so this costs no round trip."""
        transport = streamable_http_client(f"{self._url}/mcp", http_client=self._http)
        try:
            async with Client(transport, mode=LATEST_MODERN_VERSION, cache=None) as client:
                yield client
        except* httpx2.TransportError as errors:
            raise self._away(errors.exceptions[0]) from None

    def _away(self, error: BaseException) -> MCPError:
        return MCPError(
            INTERNAL_ERROR,
            f"The front door at {self._url} does not answer ({type(error).__name__}). Nothing was started. Start it "
            "with `cohort up`, or set COHORT_URL to where yours is.",
        )

    async def _list_tools(self, _: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        async with self._door() as door:
            return await door.session.send_request(ListToolsRequest(params=params), ListToolsResult)

    async def _call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        async def tell(progress: float, total: float | None, message: str | None) -> None:
            await context.session.report_progress(progress, total, message)

        asked = CallToolRequestParams(name=params.name, arguments=params.arguments, _meta=_own(context.meta))
        wants = context.meta is not None and "progress_token" in context.meta
        async with self._door() as door:
            return await door.session.send_request(
                CallToolRequest(params=asked), CallToolResult, CALL_SECONDS, progress_callback=tell if wants else None
            )


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
    if wrong := await bridge.probe():
        _say(f"{wrong} Still serving: calls will work once this is mended.")
    server = bridge.server()
    try:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())
    finally:
        await bridge.close()


def _say(message: str) -> None:
    sys.stderr.write(f"cohort mcp: {message}\n")
