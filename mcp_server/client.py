"""A small client of a running front door, for the CLI: REST with the key, retries where a retry can help."""

import time
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import quote

import httpx
import orjson

from domain.errors import invalid
from domain.ids import new_id
from mcp_server import envelope
from mcp_server.flat import fields_of, nest
from mcp_server.identity import CONTEXT, IDEMPOTENCY, OVERRIDE, Ids
from mcp_server.operations import Operation

Json = dict[str, Any]

ATTEMPTS = 5


class DoorAway(Exception):
    """No front door answers at the URL; the message says what to do."""


class CallFailed(Exception):
    """A call ended with an error; `body` is its envelope."""

    def __init__(self, body: Json) -> None:
        super().__init__(body["error"]["message"])
        self.body = body


class FrontDoor:
    """A front door at `url`, as the holder of `key` sees it. Not for use by several threads."""

    def __init__(self, url: str, key: str | None, *, context: str | None = None, override: str | None = None) -> None:
        self.url = url.rstrip("/")
        headers = {"X-User-Agent": "cohort-cli", "X-API-Key": key, CONTEXT: context, OVERRIDE: override}
        self._http = httpx.Client(
            base_url=self.url,
            headers={name: value for name, value in headers.items() if value},
            timeout=httpx.Timeout(150, connect=5),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def act_as(self, group: str) -> None:
        """Send the override of a group that the caller administers with every further call."""
        self._http.headers[OVERRIDE] = group

    def call(self, operation: Operation, given: Json, *, idempotency_key: str | None = None) -> Json:
        """The envelope that an operation answers to flat arguments (snake_case).

        An operation with an effect is sent under an idempotency key, so that a retry of ours starts nothing twice.

        Raises:
            CallFailed: it ended with an error.
            DoorAway: nobody answers.
        """
        wire = {field.name: field.wire_name for field in fields_of(operation.input)}
        values = {wire[name]: value for name, value in given.items() if value is not None}
        path = operation.path
        for name in operation.path_fields:
            path = path.replace(f"{{{name}}}", _path_part(name, str(values.pop(name))))
        headers = {IDEMPOTENCY: idempotency_key or new_id()} if operation.effect else {}
        if not operation.has_body:
            query = {name: _spelled(value) for name, value in values.items()}
            return self._send(operation.method, path, params=query, headers=headers)
        nested, _ = nest(operation.input, values, wire=True)
        return self._send(operation.method, path, json={"data": nested}, headers=headers)

    def alive(self) -> Json:
        """The envelope of the liveness check, which takes no key."""
        return self._send("GET", "/api/v1/health")

    def upload(self, content: Iterator[bytes]) -> str:
        """Send a file; returns the upload's id. Not retried, as the content is read only once."""
        sent = self._send("POST", "/api/v1/admin/uploads", content=content, attempts=1)
        return sent["data"]["uploadId"]

    def _send(self, method: str, path: str, *, attempts: int = ATTEMPTS, **request: Any) -> Json:
        for attempt in range(1, attempts + 1):
            body = self._once(method, path, **request)
            if body["success"]:
                return body
            if attempt == attempts or not body["error"]["retryable"] or body["error"]["code"] == "deadline_exceeded":
                raise CallFailed(body)
            time.sleep(min(float(body["error"].get("details", {}).get("retryAfter", attempt)), 10))
        raise AssertionError("unreachable")

    def _once(self, method: str, path: str, **request: Any) -> Json:
        try:
            response = self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise DoorAway(
                f"No front door answers at {self.url} ({type(error).__name__}). Start one with `cohort up`, or set "
                "COHORT_URL to where yours is."
            ) from error
        try:
            body = orjson.loads(response.content)
            if isinstance(body, dict) and "success" in body:
                return body
        except orjson.JSONDecodeError:
            pass
        raise DoorAway(f"What answers at {self.url} is not Cohort (status {response.status_code}). Check COHORT_URL.")


def _path_part(name: str, value: str) -> str:
    """A value as a part of a path.

    Raises:
        CallFailed: no address can hold it: servers take a slash apart, encoded or not, and dots as steps.
    """
    if value in ("", ".", "..") or "/" in value:
        problem = "must not be empty" if not value else "must not be dots alone or hold a slash; no id does"
        raise CallFailed(envelope.failure(Ids.of({}), invalid((name, problem))))
    return quote(value, safe="")


def _spelled(value: Any) -> str:
    """A value as a query parameter has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else str(value)
