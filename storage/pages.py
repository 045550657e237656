"""Page tokens: where a listing goes on, sealed, and good only for the caller and the question they were made for."""

import base64
import binascii
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.canonical import Value, encode
from domain.errors import CohortError, invalid
from domain.policy import Principal
from storage.sealing import open_sealed, seal

LIFETIME = 24 * 3600
"""Seconds for which a token is good."""
_LONGEST = 4_096


@dataclass(frozen=True)
class Binding:
    """Whose page of what: `question` is everything that decides which rows there are and in what order."""

    operation: str
    user_id: str
    context: str | None
    override: str | None
    question: Mapping[str, Value]

    @classmethod
    def of(cls, principal: Principal, operation: str, question: Mapping[str, Value]) -> "Binding":
        """The binding of a caller's question."""
        return cls(operation, principal.user_id, principal.context, principal.override, question)

    def name(self) -> bytes:
        """What the token is sealed under."""
        return encode(
            {
                "operation": self.operation,
                "user": self.user_id,
                "context": self.context,
                "override": self.override,
                "question": self.question,
            }
        )


class Pages:
    """Issues and reads page tokens. `key` is `Secrets.key("pages")`."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def issue(self, binding: Binding, place: Mapping[str, Any], *, now: float | None = None) -> str:
        """A token that leads to `place`, which must be JSON."""
        until = (time.time() if now is None else now) + LIFETIME
        content = json.dumps({"until": until, "place": dict(place)}, ensure_ascii=False, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(seal(self._cipher, content, binding.name())).rstrip(b"=").decode()

    def read(self, binding: Binding, token: str, *, now: float | None = None) -> dict[str, Any]:
        """The place that a token leads to.

        Raises:
            CohortError: `invalid_argument` that names `nextToken`: it was changed, is another caller's or another
                question's, or is too old. Which of these is not told.
        """
        try:
            content = json.loads(open_sealed(self._cipher, _decoded(token), binding.name()))
        except (InvalidTag, ValueError) as broken:
            raise _refused() from broken
        if content["until"] <= (time.time() if now is None else now):
            raise _refused()
        return content["place"]


def _decoded(token: str) -> bytes:
    """The bytes of a token in its one spelling; base64 alone would let its last digit have several.

    Raises:
        ValueError: it is spelt otherwise.
    """
    if len(token) > _LONGEST or not token.isascii():
        raise ValueError("too long, or not base64")
    try:
        found = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except binascii.Error as broken:
        raise ValueError("not base64") from broken
    if len(found) < 28 or base64.urlsafe_b64encode(found).rstrip(b"=").decode() != token:
        raise ValueError("too short, or another spelling")
    return found


def _refused() -> CohortError:
    return invalid(
        ("nextToken", "is not a token of this search: leave it out to begin again, and change no filter between pages")
    )
