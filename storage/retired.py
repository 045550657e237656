"""Ids of deleted groups and users, which nobody gets again.

Rules of other groups' objects, keys, jobs and idempotency keys may still name them: whoever got such an id would get
what was meant for another.
"""

from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import TOMBSTONES
from storage.upserts import insert

Kind = Literal["group", "user"]


async def retire(tx: AsyncConnection, kind: Kind, identity: str) -> None:
    """Never give this id again."""
    row = {"object_kind": kind, "owner_group": "", "object_id": identity, "version": 0}
    await tx.execute(insert(tx, TOMBSTONES).values(row).on_conflict_do_nothing())


async def holds(tx: AsyncConnection, kind: Kind, identity: str) -> bool:
    """Whether this id was retired."""
    return identity in await ids(tx, kind, identity)


async def ids(tx: AsyncConnection, kind: Kind, *of: str) -> set[str]:
    """Those of `of` that were retired."""
    c = TOMBSTONES.c
    named = c.object_id.in_(sorted(of))
    statement = select(c.object_id).where(c.object_kind == kind, c.owner_group == "", named)
    return set((await tx.execute(statement)).scalars())
