"""The codec endpoint: what the Temporal UI asks to have payloads read and written in the clear.

Its path holds a token that only the embedded UI is given (a capability); an operator may use his key instead, under
`/codec/operator/…`: he administers every group and has the permission `*:*`. Any group may write `*:*` down for its own
members, and payloads are of all groups.
"""

import asyncio
import hmac

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain.errors import CohortError, ErrorCode, invalid, not_found
from mcp_server.bodies import chunks
from mcp_server.door import Door
from mcp_server.http import Resource
from mcp_server.rest import asking_of
from workflows.converter import SealingCodec, decode_payloads, encode_payloads

MAX_PAYLOADS = 16 * 1024 * 1024
"""Bytes of one request: the UI sends a page of history at once."""

OPERATOR = "operator"
_TURNS = {"decode": decode_payloads, "encode": encode_payloads}


def routes(codec: SealingCodec, token: str, ui_origins: tuple[str, ...], door: Door) -> list[Route]:
    """The two routes below `/codec/<token>/`; only pages of `ui_origins` may read the answers."""

    async def turn(request: Request) -> Response:
        given, name = request.path_params["token"], request.path_params["turn"]
        if given == OPERATOR:
            await _operators_only(request, door)
        elif not hmac.compare_digest(given.encode(), token.encode()):
            raise not_found("codec endpoint")
        if name not in _TURNS:
            raise not_found("codec endpoint")
        try:
            turned = await asyncio.to_thread(_TURNS[name], codec, await _read(request))
        except ValueError as error:
            raise invalid(("body", str(error))) from None
        return Response(turned, media_type="application/json", headers=_cors(request, ui_origins))

    async def preflight(request: Request) -> Response:
        allowed = _cors(request, ui_origins)
        if allowed:
            allowed |= {
                "Access-Control-Allow-Methods": "POST",
                "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Namespace",
                "Access-Control-Max-Age": "600",
            }
        return Response(status_code=204, headers={"Allow": "OPTIONS, POST", **allowed})

    return [Route("/codec/{token}/{turn}", endpoint=Resource({"POST": turn, "OPTIONS": preflight}))]


def _cors(request: Request, origins: tuple[str, ...]) -> dict[str, str]:
    origin = request.headers.get("origin")
    if origin is None or origin not in origins:
        return {}
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}


async def _operators_only(request: Request, door: Door) -> None:
    principal = await door.principal(asking_of(request))
    # An override narrows a call to one group, and this endpoint cannot be narrowed.
    if principal.override is not None or not principal.administers_all() or "*:*" not in principal.permissions():
        raise CohortError(
            ErrorCode.FORBIDDEN,
            "Payloads of all groups are read here; none was. That takes admin level 3 and the permission *:* in your "
            "own name: use such a key, without a group override.",
        )


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in chunks(request.receive):
        body += chunk
        if len(body) > MAX_PAYLOADS:
            raise invalid(("body", f"is larger than {MAX_PAYLOADS >> 20} MiB"))
    return bytes(body)
