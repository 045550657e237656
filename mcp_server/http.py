"""What every HTTP response has: ids, security headers, a span, one line in the log, and JSON for every error."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import ERRORS, CohortError, ErrorCode, internal, invalid
from mcp_server import envelope
from mcp_server.identity import CORRELATION, REQUEST, Ids

_log = logging.getLogger("cohort.access")
_errors = logging.getLogger("cohort.door")
_tracer = trace.get_tracer("cohort.door")
_seconds = metrics.get_meter("cohort.door").create_histogram("http.server.request.duration", unit="s")
_PROPAGATOR = TraceContextTextMapPropagator()

CLIENT_GONE = 499
"""The status in the log of a request whose caller did not wait; nobody receives it."""

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_API_POLICY = "default-src 'none'; frame-ancestors 'none'"


class Reply(Response):
    """JSON by orjson."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of `content`."""
        return orjson.dumps(content)


def error_reply(ids: Ids, error: CohortError, *, status: int | None = None, headers: Mapping[str, str] = {}) -> Reply:
    """The envelope of an error, under its status."""
    return Reply(envelope.failure(ids, error), status or ERRORS[error.code].status, {**error_headers(error), **headers})


def error_headers(error: CohortError) -> dict[str, str]:
    """What an error says in headers: how to authenticate, and when to come back."""
    headers: dict[str, str] = {}
    if error.code == ErrorCode.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = 'Bearer realm="cohort"'
    if (after := error.details.get("retryAfter")) is not None:
        headers["Retry-After"] = str(max(1, round(after)))
    return headers


def ids_of(request: Request) -> Ids:
    """The ids that this request is followed by."""
    return request.state.ids


class Outermost:
    """ASGI middleware around everything that speaks HTTP."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request; anything else passes."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        ids = Ids.of(headers)
        scope.setdefault("state", {})["ids"] = ids
        began, status = time.perf_counter(), 500

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _dress(MutableHeaders(scope=message), ids)
            await send(message)

        context = _PROPAGATOR.extract(headers)
        with _tracer.start_as_current_span(
            scope["method"],
            context=context,
            kind=SpanKind.SERVER,
            record_exception=False,  # an exception's message may hold what a caller wrote
            set_status_on_exception=False,
        ) as span:
            try:
                await self._app(scope, receive, dressed)
            except ClientDisconnect:
                status = CLIENT_GONE
            finally:
                route = getattr(scope.get("route"), "path", "unknown")
                span.update_name(f"{scope['method']} {route}")
                told = {"http.route": route, "http.response.status_code": status}
                span.set_attributes(told)
                _seconds.record(time.perf_counter() - began, {"http.request.method": scope["method"], **told})
                extra = {
                    "method": scope["method"],
                    "route": route,
                    "status": status,
                    "milliseconds": round((time.perf_counter() - began) * 1000, 1),
                    "requestId": ids.request,
                    "correlationId": ids.correlation,
                }
                _log.info("request", extra={"fields": extra})


def _dress(headers: MutableHeaders, ids: Ids) -> None:
    headers[CORRELATION] = ids.correlation
    headers[REQUEST] = ids.request
    for name, value in _SECURITY.items():
        headers.setdefault(name, value)
    headers.setdefault("Content-Security-Policy", _API_POLICY)
    headers.setdefault("Cache-Control", "no-store")


async def on_refusal(request: Request, error: Exception) -> Response:
    """A CohortError that a handler raised."""
    assert isinstance(error, CohortError)
    return error_reply(ids_of(request), error)


async def on_http(request: Request, error: Exception) -> Response:
    """What the router refuses: unknown paths and wrong methods."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return wrong_method(ids_of(request), request.method, (error.headers or {}).get("Allow", ""))
    # A server takes an encoded slash apart like a plain one, so such an address ends here and not at its operation.
    slash = b"%2f" in (request.scope.get("raw_path") or b"").lower()
    why = "no id holds a slash (%2F). " if slash else ""
    nothing = CohortError(
        ErrorCode.NOT_FOUND, f"There is nothing at this address{': ' + why if why else '. '}/docs lists what there is."
    )
    return error_reply(ids_of(request), nothing)


async def on_fault(request: Request, error: Exception) -> Response:
    """A fault of ours: the stack goes to the log, the caller gets the correlation id."""
    ids = ids_of(request)
    _errors.error("unhandled", exc_info=error, extra={"fields": {"correlationId": ids.correlation}})
    reply = error_reply(ids, internal())
    _dress(reply.headers, ids)  # Starlette answers a fault outside of every middleware
    return reply


def wrong_method(ids: Ids, method: str, allowed: str) -> Reply:
    """405 in the envelope."""
    error = invalid(("method", f"{method[:16]} is not possible at this address; use one of {allowed}"))
    return error_reply(ids, error, status=405, headers={"Allow": allowed})


Handler = Callable[[Request], Awaitable[Response]]


class Resource:
    """One path with its methods: HEAD is answered as GET without a body, OPTIONS with what is possible."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)
        implied = {"OPTIONS", *(["HEAD"] if "GET" in handlers else [])}
        self._allowed = ", ".join(sorted({*handlers, *implied}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        method = request.method
        if method == "OPTIONS" and method not in self._handlers:
            response: Response = Response(status_code=204, headers={"Allow": self._allowed})
        elif handler := self._handlers.get("GET" if method == "HEAD" else method):
            response = await handler(request)
            if method == "HEAD":
                response.body = b""
        else:
            response = wrong_method(ids_of(request), method, self._allowed)
        await response(scope, receive, send)
