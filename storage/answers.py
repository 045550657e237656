"""Answers too large to travel through a workflow: sealed, kept for ten minutes, fetched by the door that waits.

Those of calls with an idempotency key are kept as long as the key.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import CohortError, ErrorCode
from storage.sealing import open_sealed, seal
from storage.sql import Database
from storage.tables import ANSWERS
from storage.upserts import insert

LIFETIME = 600
"""Seconds for which an answer is kept."""


class Answers:
    """Keeps answers under the ids of their calls. `key` is `Secrets.key("answers")`."""

    def __init__(self, database: Database, key: bytes) -> None:
        self._database = database
        self._cipher = AESGCM(key)

    async def put(self, call_id: str, data: dict[str, Any], *, now: float | None = None) -> None:
        """Keep the data of an answer; kept again, it takes the place of the one before."""
        async with self._database.write() as tx:
            await self.put_with(tx, call_id, data, now=now)

    async def put_with(
        self, tx: AsyncConnection, call_id: str, data: dict[str, Any], *, now: float | None = None
    ) -> None:
        """The same in the caller's transaction, so that an answer is there exactly where its change is."""
        content = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        row = {
            "call_id": call_id,
            "sealed": seal(self._cipher, content, call_id.encode()),
            "expires_at": (time.time() if now is None else now) + LIFETIME,
        }
        statement = insert(tx, ANSWERS).values(row)
        await tx.execute(statement.on_conflict_do_update(index_elements=["call_id"], set_=row))

    async def get(self, call_id: str, *, now: float | None = None) -> dict[str, Any]:
        """The data of an answer.

        Raises:
            CohortError: `not_found`: there is none under this id, or no longer.
        """
        async with self._database.read() as tx:
            return await self.get_with(tx, call_id, now=now)

    async def get_with(self, tx: AsyncConnection, call_id: str, *, now: float | None = None) -> dict[str, Any]:
        """The same in the caller's transaction.

        Raises:
            CohortError: `not_found`.
        """
        current = ANSWERS.c.expires_at > (time.time() if now is None else now)
        sealed = await tx.scalar(select(ANSWERS.c.sealed).where(ANSWERS.c.call_id == call_id, current))
        if sealed is None:
            raise CohortError(
                ErrorCode.NOT_FOUND, "The answer was kept for ten minutes and is gone. Make the call again."
            )
        return json.loads(open_sealed(self._cipher, bytes(sealed), call_id.encode()))


async def keep(tx: AsyncConnection, call_ids: Sequence[str], until: float) -> None:
    """Keep stored answers until then, a Unix time, as repeated requests will ask for them."""
    if call_ids:
        await tx.execute(update(ANSWERS).where(ANSWERS.c.call_id.in_(sorted(call_ids))).values(expires_at=until))
