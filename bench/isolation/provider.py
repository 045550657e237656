"""A provider for the gateways to stand before: OpenAI's chat, files and batches, where every answer is told apart.

The provider of the tests answers the same words to everybody; here each answer carries a number of its own and names
what it rests on: the caller's group, where the gateway forwards it, and code words of documents in the prompt. So an
answer that was given twice was given from a cache, and whose entry it was can be read in it.
"""

import itertools
import json
import re
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

KEY = "sk-bench-provider"
MODEL = "bench"
TOKENS = 100
"""The tokens of every answer."""
GROUP_HEADER = "x-bench-group"
_CODE_WORD = re.compile(r"codeword-[a-z0-9]+")


@dataclass
class Provider:
    """A running provider."""

    url: str
    """The base of its API, `/v1` included."""
    answers: int = 0
    """How many completions it has given."""
    delay: float = 0
    """Seconds that it takes for a completion."""
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    batches: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def provider_server() -> Generator[Provider]:
    """A provider on a free port of loopback."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.provider = Provider(url=f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # the budget probe calls all at once
    provider: Provider

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a gateway may hang up when it likes."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    _numbers = itertools.count(1)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Files and batches."""
        self._route("GET", b"")

    def do_POST(self) -> None:
        """Completions, new files and batches."""
        self._route("POST", self.rfile.read(int(self.headers.get("content-length", "0"))))

    def do_DELETE(self) -> None:
        """Delete a file."""
        self._route("DELETE", b"")

    def _route(self, method: str, body: bytes) -> None:
        provider = cast(_Server, self.server).provider
        if self.headers.get("authorization") != f"Bearer {KEY}":
            self._send(401, _error("Incorrect API key provided."))
            return
        match method, self.path.partition("?")[0].strip("/").split("/")[1:]:
            case "POST", ["chat", "completions"]:
                self._send(200, self._complete(provider, json.loads(body)))
            case "POST", ["files"]:
                name = f"file-{next(self._numbers):024d}"
                provider.files[name] = body
                self._send(200, _file(name, body))
            case "GET", ["files"]:
                self._send(200, _list([_file(name, content) for name, content in provider.files.items()]))
            case "GET", ["files", name] if name in provider.files:
                self._send(200, _file(name, provider.files[name]))
            case "GET", ["files", name, "content"] if name in provider.files:
                self._send(200, {"content": provider.files[name].decode(errors="replace")})
            case "DELETE", ["files", name] if name in provider.files:
                del provider.files[name]
                self._send(200, {"id": name, "object": "file", "deleted": True})
            case "POST", ["batches"]:
                batch = _batch(f"batch_{next(self._numbers):024d}", json.loads(body))
                provider.batches[batch["id"]] = batch
                self._send(200, batch)
            case "GET", ["batches"]:
                self._send(200, _list(list(provider.batches.values())))
            case "GET", ["batches", name] if name in provider.batches:
                self._send(200, provider.batches[name])
            case "POST", ["batches", name, "cancel"] if name in provider.batches:
                provider.batches[name]["status"] = "cancelling"
                self._send(200, provider.batches[name])
            case _:
                self._send(404, _error(f"No such object: {self.path}"))

    def _complete(self, provider: Provider, body: dict[str, Any]) -> dict[str, Any]:
        time.sleep(provider.delay)
        with provider.lock:
            provider.answers += 1
            number = provider.answers
        asked = "\n".join(str(message["content"]) for message in body["messages"])
        rests_on = [self.headers.get(GROUP_HEADER, ""), *sorted(set(_CODE_WORD.findall(asked)))]
        text = f"This is answer-{number:06d} and rests on: {' '.join(rests_on)}"
        prompt = 4 + len(asked) // 4
        usage = {"prompt_tokens": prompt, "completion_tokens": TOKENS, "total_tokens": prompt + TOKENS}
        return {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": usage,
        }

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def _list(items: list[dict[str, Any]]) -> dict[str, Any]:
    ends = {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {}
    return {"object": "list", "data": items, "has_more": False, **ends}


def _file(name: str, content: bytes) -> dict[str, Any]:
    return {
        "id": name,
        "object": "file",
        "bytes": len(content),
        "created_at": int(time.time()),
        "filename": "requests.jsonl",
        "purpose": "batch",
        "status": "processed",
    }


def _batch(name: str, asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "object": "batch",
        "endpoint": asked["endpoint"],
        "input_file_id": asked["input_file_id"],
        "completion_window": asked.get("completion_window", "24h"),
        "status": "in_progress",
        "created_at": int(time.time()),
        "request_counts": {"total": 1, "completed": 0, "failed": 0},
        "metadata": asked.get("metadata"),
    }
