"""Which rows a running ingestion has dealt with, and how.

Written in the transaction of the rows themselves. A slice that is run again finds its own rows here by their lines and
counts them as before; another line with an id from here repeats it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import INGEST_ROWS

RowOutcome = Literal["accepted", "unchanged", "deleted"]


@dataclass(frozen=True)
class Dealt:
    """The line that a row was on, and what it did."""

    line: int
    outcome: RowOutcome


async def known(tx: AsyncConnection, job_id: str, ids: Iterable[str]) -> dict[str, Dealt]:
    """Those of `ids` that this ingestion has dealt with."""
    c = INGEST_ROWS.c
    statement = select(c.object_id, c.line, c.outcome).where(c.job_id == job_id, c.object_id.in_(sorted(set(ids))))
    return {row.object_id: Dealt(row.line, row.outcome) for row in await tx.execute(statement)}


async def record(tx: AsyncConnection, job_id: str, rows: Mapping[str, Dealt]) -> None:
    """Note rows that were dealt with in this transaction."""
    if rows:
        await tx.execute(
            INGEST_ROWS.insert(),
            [
                {"job_id": job_id, "object_id": object_id, "line": dealt.line, "outcome": dealt.outcome}
                for object_id, dealt in rows.items()
            ],
        )


async def clear(tx: AsyncConnection, job_id: str) -> None:
    """Forget them, once the ingestion has ended."""
    await tx.execute(INGEST_ROWS.delete().where(INGEST_ROWS.c.job_id == job_id))
