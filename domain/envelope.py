"""The envelope around every answer: `{success, data | error, metadata, pagination?}`."""

from typing import Literal

from pydantic import Field

from domain.base import Contract
from domain.errors import ErrorBody
from domain.policy import Level

Priority = Literal["low", "normal", "high"]


class RequestMetadata(Contract):
    """What an application may say about its call. `userId` and `sessionId` are its own labels, never believed."""

    user_id: str | None = Field(default=None, max_length=128)
    session_id: str | None = Field(default=None, max_length=128)
    client_version: str | None = Field(default=None, max_length=64)
    priority: Priority = "normal"
    group_override: str | None = Field(default=None, max_length=64)


class Metadata(Contract):
    """About one call. `latency` and `cacheAge` are in milliseconds and seconds, `cost` is in US dollars.

    What is not known is left out: the caller's groups where the call was refused before they were read, and what only
    completions have.
    """

    request_id: str
    correlation_id: str
    timestamp: str
    latency: float
    user_groups: tuple[str, ...] | None = None
    effective_permissions: tuple[str, ...] | None = None
    data_access_level: Level | None = None
    cached: bool | None = None
    cache_age: float | None = None
    provider: str | None = None
    model: str | None = None
    tokens_used: int | None = None
    cost: float | None = None


class Pagination(Contract):
    """A page. `total` counts visible rows: exact up to 10,000, with `totalIsLowerBound` above."""

    limit: int
    total: int
    total_is_lower_bound: bool = False
    has_next: bool
    next_token: str | None = None


class Failure(Contract):
    """The envelope of an error."""

    success: Literal[False] = False
    error: ErrorBody
    metadata: Metadata
