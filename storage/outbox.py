"""Events that are still to be published, written in the transaction of the change that they tell of."""

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import OUTBOX


async def append(tx: AsyncConnection, topic: str, key: str, payload: Mapping[str, Any]) -> None:
    """Add an event; those with the same key are published in their order."""
    row = {"topic": topic, "key": key, "payload": dict(payload), "created_at": time.time(), "published_at": None}
    await tx.execute(OUTBOX.insert().values(row))
