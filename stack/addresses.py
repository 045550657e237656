"""Checks of the addresses in settings, in words: pydantic alone would show people regular expressions."""

import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

Text = TypeVar("Text", str, SecretStr)


def host_and_port(value: str) -> str:
    """Take `host:port`.

    Raises:
        ValueError: it is something else.
    """
    if not re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[^\s:/]+):\d{1,5}", value):
        raise ValueError("it must be host:port, such as temporal.example.org:7233")
    return value


def url_of(*kinds: str) -> Callable[[Text], Text]:
    """A check that takes what begins with one of `kinds` and can be taken apart by those who will use it."""
    beginnings = tuple(f"{kind}://" for kind in kinds)
    said = " or ".join([", ".join(beginnings[:-1]), beginnings[-1]])

    def check(value: Text) -> Text:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not text.startswith(beginnings):
            raise ValueError(f"it must begin with {said}")
        if not _readable(text):
            raise ValueError("what follows is no address: look at host and port, and write special characters as %XX")
        return value

    return check


def _readable(url: str) -> bool:
    kind = url.partition(":")[0]
    try:
        if "sql" in kind:
            return _sql_can_read(url)  # which has rules of its own for passwords
        parts = urlsplit(url)
        return parts.port != 0 and (not kind.startswith("http") or parts.hostname is not None)
    except ValueError:  # a port that is no number
        return False


def _sql_can_read(url: str) -> bool:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(url)
    except ArgumentError:
        return False
    return True
