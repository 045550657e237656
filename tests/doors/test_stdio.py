"""`cohort mcp`: what an agent on stdio meets."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import cast

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_types import RequestParamsMeta

from tests.doors.live import QUICK_FLAT
from tests.support.environment import clean_environment
from tests.support.stack import Stack


def bridge(url: str, key: str) -> StdioServerParameters:
    clean = clean_environment()
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcp_server.cli", "mcp"],
        env={**clean, "COHORT_URL": url, "COHORT_API_KEY": key},
    )


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_tools_are_listed_and_called_through_the_front_door(running: Stack, mode: str) -> None:
    async with Client(bridge(running.url, running.keys["research"]), mode=mode) as client:
        assert (await client.list_tools()).tools[0].name == "completions_create"
        listed = await client.call_tool("groups_list", {}, meta=cast(RequestParamsMeta, {"sessionId": "s1"}))
        assert listed.structured_content["data"]["userId"] == "research"
        answer = await client.call_tool("completions_create", {"prompt": "Say hello.", **QUICK_FLAT})
        assert answer.structured_content["data"]["text"] in answer.content[0].model_dump()["text"]
        refused = await client.call_tool("products_search", {"limit": 0})
        assert refused.is_error
        with pytest.raises(MCPError, match="no such tool") as unknown:
            await client.call_tool("nope", {})
        assert unknown.value.code == -32602


@pytest.mark.parametrize(("status", "kind"), [(404, "text/html"), (200, "text/html"), (500, "application/json")])
async def test_what_is_not_cohort_is_called_so(status: int, kind: str) -> None:
    """A web server that somebody else runs at the URL."""

    class Stranger(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        async with Client(bridge(url, "cohort_any")) as client:
            with pytest.raises(MCPError) as refused:
                await client.call_tool("groups_list", {})
        server.shutdown()
    assert refused.value.message == f"What answers at {url} is not Cohort (status {status}). Check COHORT_URL."


async def test_a_wrong_key_and_an_absent_door_are_said(running: Stack) -> None:
    for url, key, says in (
        (running.url, "cohort_wrong", "not a whole API key"),
        ("http://127.0.0.1:1", running.keys["research"], "does not answer"),
    ):
        async with Client(bridge(url, key)) as client:
            with pytest.raises(MCPError, match=says):
                await client.call_tool("groups_list", {})
