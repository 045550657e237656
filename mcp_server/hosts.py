"""Which names the front door answers to, checked in one place for both doors: what stops DNS rebinding.

A web page that points its own name at this machine can make a browser call us, but the call then carries that name.
"""

import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from domain.errors import CohortError, ErrorCode, invalid
from mcp_server import mcp_gate
from mcp_server.http import error_reply, ids_of

MISDIRECTED = 421


class Hosts:
    """ASGI middleware: requests to other names end here, and at `/mcp` also those of other names' web pages."""

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = {_name(name) for name in (*names, "localhost", "127.0.0.1", "::1")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it in the way of its door."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        error, status = refusal
        ids = ids_of(Request(scope))
        over_mcp = scope["path"] == mcp_gate.PATH
        reply = mcp_gate.refused(ids, error, status) if over_mcp else error_reply(ids, error, status=status)
        await reply(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[CohortError, int] | None:
        headers = Headers(scope=scope)
        host = _name(headers.get("host", ""))
        if host not in self._names and not _is_address(host):
            return invalid(
                (
                    "Host",
                    "is not a name of this front door; its operator can add it to the setting COHORT_ALLOWED_HOSTS",
                )
            ), MISDIRECTED
        origin = headers.get("origin")
        # REST needs no such check: a browser asks before it sends a key to another origin, and is never told yes.
        if (
            scope["path"] == mcp_gate.PATH
            and origin is not None
            and _name(origin.partition("://")[2]) not in self._names
        ):
            return CohortError(
                ErrorCode.FORBIDDEN,
                "The web page that made this call (Origin) is not one of this front door's. Nothing was done. Its "
                "operator can add the page's host to the setting COHORT_ALLOWED_HOSTS.",
            ), 403
        return None


def _name(host: str) -> str:
    """The name in `name`, `name:port` or `[address]:port`."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_address(host: str) -> bool:
    """Addresses cannot be rebound: whoever names one means this machine. Load balancers probe by them."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return not host  # HTTP/1.0 without a Host; browsers always send one
    return True
