"""The ledger: what each call used and cost, in integer micro-dollars (a millionth of a US dollar)."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import GROUPS, LEDGER
from storage.texts import storable
from storage.upserts import insert

MICROS = 1_000_000
"""Micro-dollars in a dollar."""


@dataclass(frozen=True)
class LedgerRow:
    """One call. `group_id` is its billing group; the labels are the application's own."""

    call_id: str
    group_id: str
    user_id: str
    key_id: str
    operation: str
    provider: str | None = None
    model: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micros: int = 0
    cached: bool = False
    user_label: str | None = None
    session_label: str | None = None
    at: float = field(default_factory=time.time)


def micros(dollars: float) -> int:
    """US dollars in micro-dollars, rounded to the nearest."""
    return round(dollars * MICROS)


async def record(tx: AsyncConnection, rows: Sequence[LedgerRow]) -> int:
    """Write calls down, each once however often it is recorded; how many were new."""
    if not rows:
        return 0
    values = [
        {name: storable(value) if isinstance(value, str) else value for name, value in vars(row).items()}
        for row in rows
    ]
    # The rows are given to execute(), not to values(): a statement with all of them in it would be compiled each time.
    statement = insert(tx, LEDGER).on_conflict_do_nothing(index_elements=["call_id"])
    return len((await tx.execute(statement.returning(LEDGER.c.call_id), values)).all())


async def spent_this_month(tx: AsyncConnection, groups: Iterable[str], *, now: float | None = None) -> dict[str, int]:
    """Micro-dollars that each group and its descendants have spent since the month began (UTC)."""
    wanted = sorted(set(groups))
    moment = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    begin = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    below = select(GROUPS.c.id.label("root"), GROUPS.c.id).where(GROUPS.c.id.in_(wanted)).cte("below", recursive=True)
    below = below.union(select(below.c.root, GROUPS.c.id).where(GROUPS.c.parent == below.c.id))
    statement = (
        select(below.c.root, func.sum(LEDGER.c.cost_micros).label("micros"))
        .join(LEDGER, LEDGER.c.group_id == below.c.id)
        .where(LEDGER.c.at >= begin)
        .group_by(below.c.root)
    )
    spent: defaultdict[str, int] = defaultdict(int)
    for row in await tx.execute(statement):
        spent[row.root] = int(row.micros)
    return {group: spent[group] for group in wanted}
