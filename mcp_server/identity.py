"""Who asks, as a door can tell from headers: ids to follow a call by, the key, the group context and the override."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from domain.errors import CohortError, ErrorCode, invalid
from domain.ids import GROUP_ID, TRACE_ID, new_id

CORRELATION = "X-Correlation-ID"
REQUEST = "X-Request-ID"
CONTEXT = "X-Group-Context"
OVERRIDE = "X-Group-Override"
IDEMPOTENCY = "Idempotency-Key"

_AGENT_LENGTH = 256


@dataclass(frozen=True)
class Ids:
    """What one request is followed by; `bad` names a header whose value was not accepted (fresh ids stand in)."""

    call: str
    request: str
    correlation: str
    bad: tuple[str, ...] = ()
    began: float = field(default_factory=time.perf_counter)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Ids":
        """The caller's own ids where given and well formed, fresh ones otherwise."""
        call = new_id()
        given = {name: headers.get(name) for name in (CORRELATION, REQUEST)}
        bad = tuple(name for name, value in given.items() if value is not None and not TRACE_ID.fullmatch(value))
        return cls(
            call=call,
            request=call if REQUEST in bad else given[REQUEST] or call,
            correlation=call if CORRELATION in bad else given[CORRELATION] or call,
            bad=bad,
        )

    def check(self) -> None:
        """Refuse ids that were given and not accepted.

        Raises:
            CohortError: invalid_argument naming the header.
        """
        if self.bad:
            raise invalid(*((name, "must be 1 to 128 letters, digits, or . _ : ~ -") for name in self.bad))

    def latency(self) -> float:
        """Milliseconds since the request came."""
        return round((time.perf_counter() - self.began) * 1000, 2)


def token_of(headers: Mapping[str, str]) -> str:
    """The API key from `X-API-Key` or `Authorization: Bearer`.

    Raises:
        CohortError: unauthenticated.
    """
    key = headers.get("X-API-Key", "").strip()
    scheme, _, credentials = headers.get("Authorization", "").strip().partition(" ")
    bearer = credentials.strip() if scheme.lower() == "bearer" else ""
    if key and bearer and key != bearer:
        raise unauthenticated("X-API-Key and Authorization hold different keys. Send the one that you mean.")
    if not key and not bearer:
        raise unauthenticated("No API key was sent. Send it as X-API-Key, or as Authorization: Bearer.")
    return key or bearer


def unauthenticated(message: str) -> CohortError:
    """401 with a sentence that repeats nothing of the key."""
    return CohortError(ErrorCode.UNAUTHENTICATED, message)


def group_in(*given: tuple[str, str | None]) -> str | None:
    """The one group that several places may name: `group_in((CONTEXT, header), ("group_context", argument))`.

    Raises:
        CohortError: invalid_argument where two places differ, or a name cannot be a group's.
    """
    named = [(place, value) for place, value in given if value is not None]
    if not named:
        return None
    if len({value for _, value in named}) > 1:
        others = ", ".join(place for place, _ in named[:-1])
        raise invalid((named[-1][0], f"names another group than {others}; give one of them"))
    place, value = named[0]
    if not GROUP_ID.fullmatch(value):
        raise invalid((place, "must be a group's id: 1 to 64 of a-z, 0-9, _ and -"))
    return value


def idempotency_key(*given: tuple[str, str | None]) -> str | None:
    """The idempotency key, if one was given.

    Raises:
        CohortError: invalid_argument where it has the wrong shape, or two places differ.
    """
    named = [(place, value) for place, value in given if value is not None]
    if not named:
        return None
    place, value = named[0]
    if len({value for _, value in named}) > 1:
        raise invalid((place, f"differs from {named[1][0]}; give one of them"))
    if not 1 <= len(value) <= 128 or not value.isascii() or not value.isprintable():
        raise invalid((place, "must be 1 to 128 printable ASCII characters"))
    return value


def agent_of(headers: Mapping[str, str]) -> str | None:
    """What the client calls itself, bounded."""
    agent = headers.get("X-User-Agent") or headers.get("User-Agent")
    if agent is None:
        return None
    return "".join(character for character in agent[:_AGENT_LENGTH] if character.isprintable())
