"""What a probe may ask of a gateway. An adapter says how that gateway is administered and asked over HTTP."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

WAYS = ("member removed", "key deleted", "user deleted", "user disabled")
"""The ways to take a right away that are looked at."""


class NotOffered(Exception):
    """The gateway has nothing of that kind; the message says what was asked and what it answered."""


class Unusable(Exception):
    """The gateway answered a preparation with an error: a figure would say nothing."""


@dataclass(frozen=True)
class Request:
    """One HTTP request, without the caller's credentials."""

    method: str
    path: str
    body: dict[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    """What came back: `seconds` from sending to the last byte."""

    status: int
    text: str
    seconds: float
    body: Any = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether it was served."""
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Member:
    """Somebody of one group with a key."""

    id: str
    group: str
    key: str = field(repr=False)
    key_id: str = ""


@dataclass(frozen=True)
class Revocation:
    """A right that is used through `use`, and taken away by `revoke`."""

    member: Member
    use: Request
    revoke: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Pair:
    """The same question about something of another group and about something that is not there."""

    what: str
    hidden: Request
    absent: Request
    ids: tuple[str, str]
    """The hidden and the absent id: an answer that only repeats the one asked for tells nothing."""
    by: Member
    """Who asks: somebody of another group."""
    seen_by: Member
    """Somebody who gets the hidden one: without, the two would be alike because neither is there."""


@dataclass(frozen=True)
class Foreign:
    """A request that shows or changes something of its owner; who sees `mark` in the answer has seen it."""

    what: str
    request: Request
    mark: str


class Gateway(Protocol):
    """One running gateway with several front doors."""

    name: str
    version: str
    setting: str
    """In words: how it was run."""
    doors: Sequence[str]
    """URLs of front-door processes; the first administers."""
    volatile: frozenset[str]
    """Fields and headers of an answer that differ from call to call whatever was asked for."""
    rests_on: str
    """In words: what of its group an answer rests on."""

    async def call(self, member: Member, request: Request, door: int = 0) -> Answer:
        """Send one request as somebody."""
        ...

    async def group(self, name: str) -> str:
        """Make a group; gives its id."""
        ...

    async def member(self, group: str) -> Member:
        """Make a user with a key in a group, who may ask and search."""
        ...

    async def own(self, member: Member, code_word: str) -> None:
        """Give the member's group something of its own with a code word in it, as far as the gateway keeps data."""
        ...

    def question(self, words: str) -> Request:
        """Ask for a completion, cache allowed."""
        ...

    def question_into(self, words: str, group: str) -> Request:
        """The same question, kept to a part of the cache that the caller names after a group.

        Raises:
            NotOffered: callers name no parts.
        """
        ...

    async def revocation(self, way: str) -> Revocation:
        """Somebody with a right that can be taken away in this way.

        Raises:
            NotOffered: the gateway cannot take a right away like this.
        """
        ...

    async def pairs(self, owner: Member, other: Member) -> list[Pair]:
        """What `owner` has and `other` must not learn of."""
        ...

    async def price(self) -> float:
        """USD of one completion, as the gateway counts."""
        ...

    async def budgeted(self, usd: float) -> Member:
        """A member of a new group with a budget.

        Raises:
            NotOffered: there are no budgets.
        """
        ...

    async def foreign(self, owner: Member, what: str) -> list[Foreign]:
        """Start a batch, or another long-running job, as `owner`; how it and its file could be read.

        Raises:
            NotOffered: there is no such thing.
        """
        ...
