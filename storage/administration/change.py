"""What an administrative change tells of itself: its answer, and what the audit log, events and later readers need."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from domain.base import Contract
from domain.calls import Provenance
from storage.provenance import ADMINISTERED


@dataclass(frozen=True)
class Change:
    """A change that was made. `object` is what it was made to (`group:acme`), `event` the facts of its event.

    `provenance` is what has to hold for a later reading of the answer. A `secret` answer must not travel through a
    workflow.
    """

    output: Contract
    object: str
    reason: str = ""
    event: Mapping[str, Any] = field(default_factory=dict[str, Any])
    provenance: tuple[Provenance, ...] = ()
    secret: bool = False


def administered(*groups: str) -> tuple[Provenance, ...]:
    """The provenance of an answer that is for the administrators of these groups."""
    return tuple(Provenance(kind=ADMINISTERED, owner_group=one, id=one, version=0) for one in groups)


def iso(moment: float) -> str:
    """A Unix time as answers show it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
