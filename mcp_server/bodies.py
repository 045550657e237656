"""Reading what a caller sent: bounded in bytes and depth, valid UTF-8 and JSON, before anything looks at it."""

from collections.abc import AsyncIterator
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from domain.errors import CohortError, invalid

MAX_BODY = 256 * 1024
"""Bytes of one request's JSON."""

MAX_DEPTH = 32
"""Levels of lists and objects in one request's JSON."""


async def read_body(receive: Receive, declared: str | None) -> bytes:
    """The body, refused as soon as it is known to be too long, whether its length was declared or it came in chunks.

    Raises:
        CohortError: invalid_argument naming `body`.
        ClientDisconnect: the caller went away.
    """
    if declared is not None and declared.isascii() and declared.isdigit() and int(declared) > MAX_BODY:
        raise _too_large()
    body = bytearray()
    async for chunk in chunks(receive):
        body += chunk
        if len(body) > MAX_BODY:
            raise _too_large()
    return bytes(body)


async def chunks(receive: Receive) -> AsyncIterator[bytes]:
    """The body of a request as it comes.

    Raises:
        ClientDisconnect: the caller went away before the end.
    """
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        yield message.get("body", b"")
        more = message.get("more_body", False)


def parse_json(body: bytes) -> Any:
    """The value that `body` spells.

    Raises:
        CohortError: invalid_argument naming `body`, or the text that no store can keep.
    """
    if not body.strip():
        raise invalid(("body", "is empty; send a JSON object"))
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise invalid(("body", f"is not valid UTF-8 at byte {error.start}")) from None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # The parser has a bound of its own on depth, far above ours.
        if "depth" in error.msg:
            raise _too_deep() from None
        raise invalid(("body", f"is not valid JSON at line {error.lineno}, column {error.colno}")) from None
    check_value(value)
    return value


def check_value(value: Any) -> None:
    """Refuse what is nested too deeply, and the NUL character, which no database keeps, naming the field that has it.

    Raises:
        CohortError: invalid_argument.
    """
    pending: list[tuple[str, Any, int]] = [("", value, 1)]
    while pending:
        path, item, depth = pending.pop()
        if isinstance(item, dict | list) and depth > MAX_DEPTH:
            raise _too_deep()
        if isinstance(item, str):
            if "\0" in item:
                raise invalid((path or "body", "must not contain the NUL character"))
        elif isinstance(item, dict):
            for key, each in cast(dict[str, Any], item).items():
                if "\0" in key:
                    raise invalid((path or "body", "has a name with the NUL character"))
                pending.append((f"{path}.{key}" if path else key, each, depth + 1))
        elif isinstance(item, list):
            pending += [(f"{path}.{at}", each, depth + 1) for at, each in enumerate(cast(list[Any], item))]


def check_encoding(raw: bytes, field: str) -> None:
    """Refuse percent-encoded bytes that are not UTF-8, where a lenient decoder would replace them silently."""
    try:
        unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise invalid((field, "is not valid UTF-8")) from None


def _too_deep() -> CohortError:
    return invalid(("body", f"is nested more than {MAX_DEPTH} levels deep"))


def _too_large() -> CohortError:
    return invalid(("body", f"is larger than {MAX_BODY // 1024} KiB; send less at once, or upload a file"))
