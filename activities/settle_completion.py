"""Write down a completion, and keep its answer for colleagues unless something moved meanwhile."""

import time

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities import settle
from activities.look_up import FAMILY
from domain.calls import Facts, Outcome, Settled, Settlement
from domain.completions import CompletionSettlement
from domain.policy import Principal
from storage import epochs
from storage.cache import Cache, Entry
from storage.idempotency import IdempotencyKeys
from storage.sql import Database
from workflows import ports


class SettleCompletion:
    """One transaction for ledger, audit and idempotency, and the cache after it."""

    def __init__(self, database: Database, keys: IdempotencyKeys, cache: Cache) -> None:
        self._database = database
        self._keys = keys
        self._cache = cache

    @activity.defn(name=ports.settle_completion.name)
    async def run(self, settlement: CompletionSettlement) -> Settled:
        """Settling the same completion again writes nothing more."""
        job, call, principal = settlement.job, settlement.job.admitted.call, settlement.job.admitted.principal
        data = settlement.output.model_dump(mode="json", by_alias=True)
        outcome = Outcome(
            call_id=call.id,
            data=data,
            facts=Facts.of(principal),
            usage=settlement.usage,
            provenance=settlement.provenance,
        )
        async with self._database.write() as tx:
            written = await settle.write(tx, [Settlement(call=call, outcome=outcome, principal=principal)], self._keys)
            still = job.cache_key is not None and await _unmoved(tx, principal)
        if still and job.cache_key is not None and settlement.output.finish_reason != "content_filter":
            entry = Entry(data=data, usage=settlement.usage, provenance=settlement.provenance, stored_at=time.time())
            await self._cache.put(FAMILY, job.cache_key, entry)
        return Settled(written=written)


async def _unmoved(tx: AsyncConnection, principal: Principal) -> bool:
    """Whether every epoch is what it was when the call was admitted.

    Read after the provider answered: an entry whose key holds older epochs would be one that nobody should find.
    """
    return await epochs.read(tx, principal.epochs) == principal.epochs
