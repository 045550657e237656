"""The REST door: one route an operation, made from the table."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from domain.envelope import RequestMetadata
from domain.errors import ERRORS, invalid
from mcp_server.bodies import check_encoding, parse_json, read_body
from mcp_server.door import Asking, Door, mark
from mcp_server.http import Handler, Reply, Resource, error_headers, ids_of
from mcp_server.identity import CONTEXT, IDEMPOTENCY, OVERRIDE, agent_of, group_in, idempotency_key, token_of
from mcp_server.inputs import from_body, from_query
from mcp_server.operations import Operation

Result = TypeVar("Result")


def routes(operations: dict[str, Operation], door: Door) -> list[Route]:
    """A route for every path of the table."""
    paths: dict[str, dict[str, Handler]] = {}
    for operation in operations.values():
        paths.setdefault(operation.path, {})[operation.method] = _handler(operation, door)
    return [Route(path, endpoint=Resource(handlers)) for path, handlers in paths.items()]


def _handler(operation: Operation, door: Door) -> Handler:
    async def handle(request: Request) -> Response:
        asking = asking_of(request)
        await door.check(asking.token)  # before anything of the body is read
        check_encoding(request.scope.get("raw_path") or b"", "path")
        if operation.has_body:
            given, metadata = from_body(operation, request.path_params, parse_json(await read_json(request)))
            asking = asking_of(request, metadata)
        else:
            check_encoding(request.scope.get("query_string", b""), "query")
            given = from_query(operation, request.path_params, request.query_params)
        answer = await unless_gone(request, door.answer(operation, asking, given))
        mark(operation, answer)
        if answer.error is not None:
            return Reply(answer.body, ERRORS[answer.error.code].status, error_headers(answer.error))
        return Reply(answer.body, operation.status)

    return handle


def asking_of(request: Request, metadata: RequestMetadata | None = None) -> Asking:
    """Who asks, from the headers, and from the body's metadata where there are some.

    Raises:
        CohortError: unauthenticated, or invalid_argument naming the header.
    """
    headers, ids, said = request.headers, ids_of(request), metadata or RequestMetadata()
    ids.check()
    return Asking(
        ids=ids,
        token=token_of(headers),
        context=group_in((CONTEXT, headers.get(CONTEXT))),
        override=group_in((OVERRIDE, headers.get(OVERRIDE)), ("metadata.groupOverride", said.group_override)),
        idempotency_key=idempotency_key((IDEMPOTENCY, headers.get(IDEMPOTENCY))),
        agent=agent_of(headers),
        metadata=said,
    )


async def read_json(request: Request) -> bytes:
    """The body of a request that says that it is JSON.

    Raises:
        CohortError: invalid_argument naming the header or `body`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise invalid(("Content-Type", "must be application/json"))
    return await read_body(request.receive, request.headers.get("content-length"))


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, or no more waiting as soon as the caller is gone.

    Raises:
        ClientDisconnect: the caller went away.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        watching.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
