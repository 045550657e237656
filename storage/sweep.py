"""Deletes what has outlived its time: idempotency keys, answers, jobs. The worker calls it now and then."""

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import ANSWERS, IDEMPOTENCY, JOBS


async def sweep(tx: AsyncConnection, now: float) -> int:
    """Delete what expired before `now` (Unix time); how many rows."""
    swept = 0
    for table in (IDEMPOTENCY, ANSWERS, JOBS):
        swept += (await tx.execute(delete(table).where(table.c.expires_at <= now))).rowcount
    return swept
