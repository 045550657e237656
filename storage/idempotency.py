"""Idempotency keys: the first call with a key runs, later ones get its outcome. Kept for 24 hours, sealed.

A key whose call has no outcome is held only while the call can still be at work. Whatever ends a call without a word (a
worker that died, an operator who terminated it), a retry runs soon.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Row, bindparam, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.calls import Outcome
from storage.sealing import open_sealed, seal
from storage.tables import IDEMPOTENCY
from storage.upserts import insert

LIFETIME = 24 * 3600
"""Seconds for which a key is remembered, from its claim on, once its call has an outcome."""
GRACE = 60
"""Seconds for which a claim outlives its call's deadline: an execution ends some 15 s after the last of its callers."""


@dataclass(frozen=True)
class Ask:
    """A call that brought an idempotency key. `digest` is that of its input, context and override.

    `deadline` is when its caller stops waiting (Unix time).
    """

    user_id: str
    operation: str
    key: str
    digest: str
    call_id: str
    deadline: float


@dataclass(frozen=True)
class Claim:
    """What the key is worth.

    `fresh`: the call is the first and runs. `running`: call `call_id` has the key and still runs, as `workflow_id` if
    it has one. `finished`: `outcome` is how that call ended. `conflict`: it had another input.
    """

    state: Literal["fresh", "running", "finished", "conflict"]
    call_id: str
    workflow_id: str | None = None
    outcome: Outcome | None = None


class IdempotencyKeys:
    """Claims keys and keeps outcomes. `key` is `Secrets.key("answers")`."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    async def claim(self, tx: AsyncConnection, asks: Sequence[Ask], *, now: float | None = None) -> list[Claim]:
        """One claim an ask, in order. Of many that ask at once, in one batch or in many processes, one gets `fresh`.

        A call that asks again (its activity was retried) gets `fresh` again.
        """
        if not asks:
            return []
        moment = time.time() if now is None else now
        c = IDEMPOTENCY.c
        mine = tuple_(c.user_id, c.operation, c.key).in_(sorted({_name(ask) for ask in asks}))
        await tx.execute(delete(IDEMPOTENCY).where(mine, c.expires_at <= moment))
        rows = [
            {
                "user_id": ask.user_id,
                "operation": ask.operation,
                "key": ask.key,
                "digest": ask.digest,
                "call_id": ask.call_id,
                "claimed_at": moment,
                "expires_at": max(moment, ask.deadline) + GRACE,
            }
            for ask in sorted(asks, key=_name)
        ]
        await tx.execute(insert(tx, IDEMPOTENCY).values(rows).on_conflict_do_nothing())
        held = {(row.user_id, row.operation, row.key): row for row in await tx.execute(select(IDEMPOTENCY).where(mine))}
        return [self._claim(ask, held[_name(ask)]) for ask in asks]

    async def go_on(self, tx: AsyncConnection, workflows: Mapping[str, str], until: float) -> None:
        """Note the workflow that carries a claimed call on, by call id, so that later calls can wait for it.

        It lives until `until` (Unix time) at most.
        """
        if workflows:
            c = IDEMPOTENCY.c
            statement = update(IDEMPOTENCY).where(c.call_id == bindparam("of_call"), c.outcome.is_(None))
            await tx.execute(
                statement.values(workflow_id=bindparam("workflow"), expires_at=until + GRACE),
                [{"of_call": call, "workflow": workflow} for call, workflow in sorted(workflows.items())],
            )

    async def finish(self, tx: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
        """Keep how claimed calls ended; outcomes of calls without a claim are passed over."""
        if outcomes:
            statement = update(IDEMPOTENCY).where(IDEMPOTENCY.c.call_id == bindparam("of_call"))
            await tx.execute(
                statement.values(outcome=bindparam("sealed"), expires_at=IDEMPOTENCY.c.claimed_at + LIFETIME),
                [{"of_call": one.call_id, "sealed": self._seal(one)} for one in outcomes],
            )

    async def release(self, tx: AsyncConnection, call_ids: Sequence[str]) -> None:
        """Give the keys of failed calls free, so that a retry runs."""
        c = IDEMPOTENCY.c
        await tx.execute(delete(IDEMPOTENCY).where(c.call_id.in_(sorted(call_ids)), c.outcome.is_(None)))

    def _claim(self, ask: Ask, row: Row[Any]) -> Claim:
        if row.digest != ask.digest:
            return Claim("conflict", row.call_id)
        if row.outcome is not None:
            name = row.call_id.encode()
            kept = Outcome.model_validate_json(open_sealed(self._cipher, bytes(row.outcome), name))
            return Claim("finished", row.call_id, row.workflow_id, kept)
        state = "fresh" if row.call_id == ask.call_id else "running"
        return Claim(state, row.call_id, row.workflow_id)

    def _seal(self, outcome: Outcome) -> bytes:
        return seal(self._cipher, outcome.model_dump_json().encode(), outcome.call_id.encode())


def _name(ask: Ask) -> tuple[str, str, str]:
    return ask.user_id, ask.operation, ask.key
