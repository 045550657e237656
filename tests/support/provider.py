"""A provider that speaks OpenAI's chat wire format and misbehaves on command.

What it does is chosen by the model's name in the request, so that routes with different manners need one server:

- `good…`: answers from the prompt, citing the first source if there is one, with usage;
- `echo`: answers with the last turn;
- `nousage`: answers without usage; `oddusage`: with counts that no call can have;
- `surrogate`: answers with an emoji that was cut in half;
- `empty`, `nochoices`, `wrongtypes`, `nullmessage`, `junk`, `html`, `list`, `errorbody`, `huge`:
  garbage of various kinds; `disconnect`: closes the connection without an answer;
- `status-503`: fails with that status; `slow-0.2`: answers after so many seconds; `hang`: never answers;
- `held`: answers once the test sets `released`;
- `flaky-2`: fails with 503 so many times, then answers.

Requests are validated as strictly as the format says, and recorded.
"""

import json
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

KEY = "sk-test-provider"
_ROLES = {"system", "user", "assistant"}


@dataclass
class Provider:
    """A running provider."""

    url: str
    """The base for LiteLLM's `api_base`, `/v1` included."""
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The bodies of valid requests, in the order of arrival."""
    problems: list[str] = field(default_factory=list[str])
    """What was wrong with requests that were refused as malformed."""
    attempts: Counter[str] = field(default_factory=Counter[str])
    """How often each model was asked."""
    released: threading.Event = field(default_factory=threading.Event)
    """Set to let go of requests that hang or are held."""

    def asked(self, model: str) -> list[dict[str, Any]]:
        """The requests for one model."""
        return [body for body in self.requests if body["model"] == model]


@contextmanager
def provider_server() -> Generator[Provider]:
    """A provider on a free port of loopback."""
    server = _Server(("127.0.0.1", 0), _Handler)
    provider = server.provider = Provider(url=f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.released.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    provider: Provider


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        provider = cast(_Server, self.server).provider
        raw = self.rfile.read(int(self.headers.get("content-length", "0")))
        if self.headers.get("authorization") != f"Bearer {KEY}":
            self._error(401, f"Incorrect API key provided: {self.headers.get('authorization')}")
            return
        problem, body = _read(self.path, raw)
        if problem is not None:
            provider.problems.append(problem)
            self._error(400, problem)
            return
        provider.requests.append(body)
        provider.attempts[body["model"]] += 1
        self._behave(provider, body)

    def _behave(self, provider: Provider, body: dict[str, Any]) -> None:
        manner, _, much = str(body["model"]).partition("-")
        answer = _answer(body)
        match manner:
            case "hang":
                provider.released.wait(60)
                self.close_connection = True
                return
            case "disconnect":
                self.close_connection = True
                return
            case "held":
                provider.released.wait(60)
            case "slow":
                provider.released.wait(float(much))
            case "status":
                self._error(int(much), f"told to fail; your key is {KEY}")
                return
            case "flaky" if provider.attempts[body["model"]] <= int(much):
                self._error(503, "not yet")
                return
            case "html":
                self._send(200, b"<html>Bad gateway</html>", "text/html")
                return
            case "junk":
                self._send(200, b'{"choices": [')
                return
            case "list":
                self._send(200, b"[1, 2]")
                return
            case "errorbody":
                self._send(200, b'{"error": {"message": "odd"}}')
                return
            case "nochoices":
                answer["choices"] = []
            case "nullmessage":
                answer["choices"] = [{"index": 0, "message": None, "finish_reason": "stop"}]
            case "wrongtypes":
                answer["choices"][0]["message"]["content"] = 7
                answer["usage"] = "many"
            case "empty":
                answer["choices"][0]["message"]["content"] = ""
            case "huge":
                answer["choices"][0]["message"]["content"] = "word " * 100_000
            case "nousage":
                del answer["usage"]
            case "oddusage":
                answer["usage"] = {"prompt_tokens": 10**30, "completion_tokens": -1, "total_tokens": 10**30}
            case "surrogate":
                answer["model"] = answer["id"] = "half \ud83d"
                answer["choices"][0]["message"]["content"] = "Half an emoji: \ud83d"
                answer["choices"][0]["finish_reason"] = "length \ud83d"
            case _:
                pass
        self._send(200, json.dumps(answer).encode())

    def _error(self, status: int, message: str) -> None:
        body = {"error": {"message": message, "type": "test_error", "param": None, "code": None}}
        self._send(status, json.dumps(body).encode())

    def _send(self, status: int, content: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _read(path: str, raw: bytes) -> tuple[str | None, dict[str, Any]]:
    """What is wrong with a request, or its body."""
    if path != "/v1/chat/completions":
        return f"no such path: {path}", {}
    try:
        body: Any = json.loads(raw)
    except ValueError:
        return "the body is not JSON", {}
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return "model must be a string", {}
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "messages must be a list that is not empty", {}
    for message in messages:
        if message.get("role") not in _ROLES or not isinstance(message.get("content"), str):
            return f"not a message: {message!r}", {}
    if "max_tokens" in body and (not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1):
        return "max_tokens must be a positive integer", {}
    if not 0 <= body.get("temperature", 1) <= 2:
        return "temperature must be between 0 and 2", {}
    if len(body.get("stop") or []) > 4:
        return "stop takes four sequences at most", {}
    if body.get("stream"):
        return "this provider does not stream", {}
    return None, body


def _answer(body: dict[str, Any]) -> dict[str, Any]:
    last = body["messages"][-1]["content"]
    prompt = "\n".join(message["content"] for message in body["messages"])
    text = last if body["model"] == "echo" else f"An answer{' from the first source [1]' if '[1]' in prompt else ''}."
    if (body.get("response_format") or {}).get("type") in ("json_object", "json_schema"):
        text = json.dumps({"answer": text})
    return {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }
