"""What the command line's client sends for an operation, as a server receives it."""

import dataclasses
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from domain.base import Contract
from mcp_server.client import CallFailed, FrontDoor
from mcp_server.operations import OPERATIONS

RECEIVED: list[tuple[str, str, Any, str | None]] = []


class Recorder(BaseHTTPRequestHandler):
    """Answers everything, and remembers it."""

    def record(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        RECEIVED.append((self.command, self.path, json.loads(body or b"null"), self.headers["Idempotency-Key"]))
        self.send_response(200)
        self.send_header("Content-Length", "16")
        self.end_headers()
        self.wfile.write(b'{"success":true}')

    def log_message(self, format: str, *args: object) -> None:
        pass


for method_name in ("GET", "POST", "PUT", "PATCH", "DELETE"):
    setattr(Recorder, f"do_{method_name}", Recorder.record)


class MemberInput(Contract):
    """A member of a group."""

    id: str
    user_id: str
    role: int | None = None


@pytest.fixture
def url() -> Iterator[str]:
    RECEIVED.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST", "PUT", "PATCH"])
def test_the_path_the_query_and_the_body_each_get_their_part(url: str, method: Any) -> None:
    path = "/groups/{id}/members/{userId}"
    operation = dataclasses.replace(OPERATIONS["jobs_get"], input=MemberInput, method=method, path=path, effect=True)
    with FrontDoor(url, "k") as door:
        door.call(operation, {"id": "a b", "user_id": "ü%", "role": 2}, idempotency_key="once")
        for bad in ("", "a/b", "."):
            with pytest.raises(CallFailed, match="userId: must not be"):
                door.call(operation, {"id": "a", "user_id": bad})
    address, body = "/groups/a%20b/members/%C3%BC%25", {"data": {"role": 2}}
    plain = method in ("GET", "DELETE")
    assert [(method, f"{address}?role=2" if plain else address, None if plain else body, "once")] == RECEIVED
