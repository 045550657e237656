"""The MCP door: the same operations as tools, over streamable HTTP, stateless, in both protocol revisions."""

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
)
from starlette.requests import Request

from domain.envelope import RequestMetadata
from domain.errors import ERRORS, CohortError, ErrorCode, invalid
from domain.policy import Principal
from mcp_server import envelope, texts
from mcp_server.door import Answer, Asking, Door, mark
from mcp_server.http import ids_of
from mcp_server.identity import CONTEXT, OVERRIDE, Ids, agent_of, group_in, idempotency_key, token_of
from mcp_server.inputs import from_arguments
from mcp_server.operations import Operation, tools
from mcp_server.problems import BODY, in_tool_words, validate
from mcp_server.tools import GROUP_CONTEXT, IDEMPOTENCY_KEY, INSTRUCTIONS, tool_of

Result = TypeVar("Result")
Context = ServerRequestContext[Any, Any]

PROGRESS_SECONDS = 10.0
"""Clients drop calls that are silent for long: a call that asked for progress says so often that it goes on."""

_META = ("userId", "sessionId", "clientVersion", "priority")
_PREFIX = "cohort/"


def server(operations: dict[str, Operation], door: Door, version: str) -> Server[Any]:
    """The MCP server of one front door."""
    offered = {operation.name: operation for operation in tools(operations)}
    listed = {name: tool_of(operation) for name, operation in offered.items()}

    async def list_tools(context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        principal = await _principal(door, _asking(context, {}))
        return ListToolsResult(tools=[listed[name] for name, each in offered.items() if _may(principal, each)])

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        operation = offered.get(params.name)
        if operation is None:
            raise _no_such_tool()
        answer = await with_progress(context.session, _call(door, operation, context, params.arguments or {}))
        mark(operation, answer)
        if answer.error is not None:
            await _hide(door, operation, context)
            if (code := ERRORS[answer.error.code].protocol_code) is not None:
                raise MCPError(code, answer.error.message, answer.body)
        return CallToolResult(
            content=[TextContent(text=texts.render(operation.name, answer.body))],
            structured_content=answer.body,
            is_error=answer.error is not None,
        )

    return Server[Any](
        "cohort",
        version=version,
        title="Cohort",
        description="A group-aware AI platform: completions, products and groups, each call a durable workflow.",
        instructions=INSTRUCTIONS,
        # No tool reads arguments from headers. Without this the SDK lists the tools before every call to find out.
        get_tool_input_schema=lambda _: {"type": "object"},
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _call(door: Door, operation: Operation, context: Context, arguments: Mapping[str, Any]) -> Answer:
    try:
        own = {name: value for name, value in arguments.items() if name not in _common(operation)}
        asking = _asking(context, {name: arguments[name] for name in _common(operation) if name in arguments})
        given = from_arguments(operation, own)
    except CohortError as error:
        return Answer(envelope.failure(_ids(context), error), error)
    answer = await door.answer(operation, asking, given)
    if answer.error is None:
        return answer
    error = in_tool_words(answer.error, operation.input)
    return Answer({**answer.body, "error": envelope.error_of(error)}, error)


def _common(operation: Operation) -> tuple[str, ...]:
    return (GROUP_CONTEXT, IDEMPOTENCY_KEY) if operation.effect else (GROUP_CONTEXT,)


def _request(context: Context) -> Request:
    request = context.request
    if not isinstance(request, Request):
        raise MCPError(INVALID_PARAMS, "This server is reached over streamable HTTP only; on stdio use `cohort mcp`.")
    return request


def _ids(context: Context) -> Ids:
    return ids_of(_request(context))


def _asking(context: Context, arguments: Mapping[str, Any]) -> Asking:
    """Who asks, from headers, `_meta` and the arguments that every tool has.

    Raises:
        CohortError: unauthenticated, or invalid_argument naming the header, argument or `_meta` field.
    """
    request = _request(context)
    headers, said = request.headers, _meta(context.meta or {})
    return Asking(
        ids=ids_of(request),
        token=token_of(headers),
        context=group_in(
            (CONTEXT, headers.get(CONTEXT)),
            (GROUP_CONTEXT, _text(GROUP_CONTEXT, arguments.get(GROUP_CONTEXT))),
            ("_meta.groupContext", said.get("groupContext")),
        ),
        override=group_in((OVERRIDE, headers.get(OVERRIDE))),
        idempotency_key=idempotency_key(
            (IDEMPOTENCY_KEY, _text(IDEMPOTENCY_KEY, arguments.get(IDEMPOTENCY_KEY))),
            ("_meta.idempotencyKey", said.get("idempotencyKey")),
        ),
        agent=agent_of(headers),
        metadata=validate(
            RequestMetadata, {name: value for name, value in said.items() if name in _META}, BODY, prefix="_meta."
        ),
    )


def _meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What of `_meta` is ours, plain or under `cohort/`; the rest belongs to the protocol and to others.

    Raises:
        CohortError: invalid_argument.
    """
    said: dict[str, Any] = {}
    for name, value in meta.items():
        own = name.removeprefix(_PREFIX)
        if own == "groupOverride":
            raise invalid(("_meta.groupOverride", "is not possible here: an agent cannot act as another group"))
        if own in _META:
            said[own] = value
        elif own in ("groupContext", "idempotencyKey"):
            said[own] = _text(f"_meta.{own}", value)
    return said


def _text(place: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise invalid((place, "must be text"))
    return value


async def _principal(door: Door, asking: Asking) -> Principal:
    try:
        asking.ids.check()
        return await door.principal(asking)
    except CohortError as error:
        code = ERRORS[error.code].protocol_code or INVALID_PARAMS
        raise MCPError(code, error.message, envelope.failure(asking.ids, error)) from None


def _may(principal: Principal, operation: Operation) -> bool:
    return operation.permission is None or principal.may(operation.permission)


async def _hide(door: Door, operation: Operation, context: Context) -> None:
    """A tool that the caller may not call is answered as one that does not exist, whatever else was wrong."""
    with contextlib.suppress(CohortError):
        if not _may(await door.principal(_asking(context, {})), operation):
            raise _no_such_tool()


def _no_such_tool() -> MCPError:
    return MCPError(INVALID_PARAMS, "There is no such tool here. tools/list names those that you can call.")


async def with_progress(session: ServerSession, work: Awaitable[Result], every: float = PROGRESS_SECONDS) -> Result:
    """The result of `work`; meanwhile a sign of life every ten seconds, for clients that asked for progress."""
    working = asyncio.ensure_future(work)
    waited = 0.0
    try:
        while not (await asyncio.wait({working}, timeout=every))[0]:
            waited += every
            await session.report_progress(waited, None, f"Still working, {waited:.0f} s so far.")
        return working.result()
    finally:
        working.cancel()


def unauthenticated_code() -> int:
    """The JSON-RPC code of a missing or wrong key."""
    code = ERRORS[ErrorCode.UNAUTHENTICATED].protocol_code
    assert code is not None
    return code
