"""`POST /api/v1/admin/uploads`: a file on its way into an ingestion, streamed to where uploads are kept."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain.calls import Facts, Outcome
from domain.errors import CohortError, ErrorCode, invalid
from mcp_server import envelope
from mcp_server.bodies import chunks
from mcp_server.door import Door
from mcp_server.http import Reply, Resource
from mcp_server.rest import asking_of
from storage.uploads import LIMIT, Uploads

PATH = "/api/v1/admin/uploads"
_PERMISSIONS = ("products:write", "documents:write")


def route(door: Door, uploads: Uploads) -> Route:
    """The route of uploads."""

    async def receive(request: Request) -> Response:
        asking = asking_of(request)
        principal = await door.principal(asking)
        if not any(principal.may(permission) for permission in _PERMISSIONS):
            raise CohortError(
                ErrorCode.FORBIDDEN,
                f"Uploading takes {' or '.join(_PERMISSIONS)}. Nothing was kept. Ask an administrator of your group.",
            )
        declared = request.headers.get("content-length", "")
        said = int(declared) if declared.isascii() and declared.isdigit() else 0
        if said > LIMIT:
            raise invalid(("body", f"must be {LIMIT >> 20} MiB or less; split the file and send the parts"))
        kept = await uploads.of(principal.user_id).write(chunks(request.receive), declared=said)
        outcome = Outcome(call_id=asking.ids.call, facts=Facts.of(principal))
        return Reply(envelope.success(asking.ids, {"uploadId": kept.id, "bytes": kept.bytes}, outcome), 201)

    return Route(PATH, endpoint=Resource({"POST": receive}))
