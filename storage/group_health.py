"""Where groups stand: their limits, what they have spent this month, and how many of their calls are under way."""

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.health import GroupHealth
from storage import ledger
from storage.tables import GROUPS, JOBS


async def read(tx: AsyncConnection, groups: Iterable[str], *, now: float) -> dict[str, GroupHealth]:
    """Each of `groups` that exists. `backlog` counts jobs that are not at their end; money is in US dollars."""
    wanted = sorted(set(groups))
    spent = await ledger.spent_this_month(tx, wanted, now=now)
    waiting = (
        select(func.count())
        .select_from(JOBS)
        .where(JOBS.c.billing_group == GROUPS.c.id, JOBS.c.status.in_(["queued", "running", "waiting"]))
        .scalar_subquery()
    )
    statement = select(
        GROUPS.c.id,
        GROUPS.c.requests_per_minute,
        GROUPS.c.tokens_per_minute,
        GROUPS.c.parallel,
        GROUPS.c.monthly_budget_micros,
        waiting.label("waiting"),
    ).where(GROUPS.c.id.in_(wanted))
    return {
        row.id: GroupHealth(
            id=row.id,
            requests_per_minute=row.requests_per_minute,
            tokens_per_minute=row.tokens_per_minute,
            parallel=row.parallel,
            monthly_budget=None if row.monthly_budget_micros is None else row.monthly_budget_micros / ledger.MICROS,
            spent_this_month=spent[row.id] / ledger.MICROS,
            backlog=int(row.waiting),
        )
        for row in await tx.execute(statement)
    }
