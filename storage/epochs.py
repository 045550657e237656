"""Epochs: numbers that rise, in the same transaction, with every change of what a scope's members may see.

A cached answer is kept under the epochs of its caller; any rise makes it unreachable, so nothing is ever searched for
deletion. A scope is `group:<id>`, `level:<level>`, `policy` (groups and hierarchy) or `public` (public objects).
A group's descendants need no rise of their own: their members carry the epochs of all their effective groups.
"""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.policy import Level
from storage.tables import EPOCHS
from storage.upserts import insert

POLICY = "policy"
PUBLIC = "public"
GLOBAL = (*(f"level:{level}" for level in Level), POLICY, PUBLIC)
"""The scopes that every caller carries."""
_PENDING = "cohort.epochs"


def of_group(group_id: str) -> str:
    """The scope of a group."""
    return f"group:{group_id}"


def of_level(level: Level | str) -> str:
    """The scope of an access level."""
    return f"level:{level}"


async def bump(tx: AsyncConnection, scopes: Iterable[str]) -> None:
    """Raise each scope once in this transaction, however often it is named.

    The rise is written when the transaction of `Database.write` commits, all scopes in one statement and in sorted
    order: two writers that share scopes wait for each other briefly, and never for ever.
    """
    pending: set[str] = tx.info.setdefault(_PENDING, set())
    pending.update(scopes)


async def flush(tx: AsyncConnection) -> None:
    """Write the rises that are due. `Database.write` does this before it commits."""
    pending = sorted(tx.info.pop(_PENDING, ()))
    if not pending:
        return
    statement = insert(tx, EPOCHS).values([{"scope": scope, "value": 1} for scope in pending])
    await tx.execute(statement.on_conflict_do_update(index_elements=["scope"], set_={"value": EPOCHS.c.value + 1}))


def forget(tx: AsyncConnection) -> None:
    """Drop rises that a transaction on this connection left behind when it was rolled back."""
    tx.info.pop(_PENDING, None)


async def read(tx: AsyncConnection, scopes: Iterable[str]) -> dict[str, int]:
    """The numbers of these scopes, 0 where nothing has changed yet."""
    wanted = sorted(set(scopes))
    await flush(tx)
    rows = await tx.execute(select(EPOCHS.c.scope, EPOCHS.c.value).where(EPOCHS.c.scope.in_(wanted)))
    found = {row.scope: row.value for row in rows}
    return {scope: found.get(scope, 0) for scope in wanted}
