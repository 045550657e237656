"""`/docs`: the OpenAPI document to read and to try, as one page of our own that loads nothing from elsewhere."""

import base64
import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mcp_server.http import Resource
from mcp_server.openapi import document
from mcp_server.operations import Operation
from mcp_server.page_html import write


def routes(operations: dict[str, Operation], version: str) -> list[Route]:
    """`GET /docs`."""
    made: list[str] = []
    files = resources.files("mcp_server")
    style, script = (files.joinpath(name).read_text("utf-8") for name in ("docs.css", "docs.js"))
    policy = (
        f"default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    )

    async def serve(_: Request) -> Response:
        if not made:
            made.append(write(document(operations, version), style, script))
        return HTMLResponse(made[0], headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"})

    return [Route("/docs", endpoint=Resource({"GET": serve}))]


def _digest(inline: str) -> str:
    """What a Content-Security-Policy names inline text by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
