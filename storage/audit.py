"""The audit trail: who did or tried what, as which group, and what was decided. Rows are only ever added."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import new_id
from domain.policy import Principal
from storage.tables import AUDIT
from storage.upserts import insert

Decision = Literal["allowed", "refused", "failed"]


@dataclass(frozen=True)
class Actor:
    """Who acts: always the user's own name, with the billing group and the override that the call ran under."""

    user_id: str
    key_id: str | None = None
    group_id: str | None = None
    override: str | None = None
    correlation_id: str | None = None

    @classmethod
    def of(cls, principal: Principal, correlation_id: str | None = None) -> "Actor":
        """The actor that an admitted caller is."""
        return cls(principal.user_id, principal.key_id, principal.billing_group, principal.override, correlation_id)


SYSTEM = Actor(user_id="system")
"""Cohort itself: set-up and maintenance."""


@dataclass(frozen=True)
class Entry:
    """One line. `object` is what it was done to, such as `group:acme`; an entry with a known `id` is not repeated."""

    actor: Actor
    operation: str
    decision: Decision = "allowed"
    object: str | None = None
    reason: str = ""
    id: str = field(default_factory=new_id)
    at: float = field(default_factory=time.time)


async def decision_of(tx: AsyncConnection, entry_id: str) -> str | None:
    """The decision of an entry; None where there is no such entry."""
    return await tx.scalar(select(AUDIT.c.decision).where(AUDIT.c.id == entry_id))


async def append(tx: AsyncConnection, entries: Sequence[Entry]) -> int:
    """Add entries; how many were new."""
    if not entries:
        return 0
    rows = [
        {
            "id": entry.id,
            "at": entry.at,
            "user_id": entry.actor.user_id,
            "key_id": entry.actor.key_id,
            "group_id": entry.actor.group_id,
            "override": entry.actor.override,
            "operation": entry.operation,
            "object": entry.object,
            "decision": entry.decision,
            "reason": entry.reason,
            "correlation_id": entry.actor.correlation_id,
        }
        for entry in entries
    ]
    # The rows are given to execute(), not to values(): a statement with all of them in it would be compiled each time.
    statement = insert(tx, AUDIT).on_conflict_do_nothing(index_elements=["id"]).returning(AUDIT.c.id)
    return len((await tx.execute(statement, rows)).all())
