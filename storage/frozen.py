"""The order that a ranked search found, kept for ten minutes, so that its pages fit together.

Only ids are kept; what they stand for is read and authorised anew for each page. Without Redis, or once the time is
over, the search is run again and goes on at the same place.
"""

from collections.abc import Sequence

import orjson

from domain.ids import new_id
from storage.objects import Ref
from storage.redis_link import RedisLink

LIFETIME = 600
"""Seconds."""
_PREFIX = "cohort:order:"


class FrozenOrders:
    """Orders by random ids, which travel in sealed page tokens only."""

    def __init__(self, redis: RedisLink) -> None:
        self._redis = redis

    async def keep(self, order: Sequence[Ref]) -> str:
        """Keep an order; returns its id."""
        name = new_id()
        # The name is in the value too: a reply that belongs to another command must not pass for this order.
        await self._redis.put(_PREFIX + name, orjson.dumps({"name": name, "order": order}), LIFETIME)
        return name

    async def get(self, names: Sequence[str]) -> dict[str, list[Ref]]:
        """Those that are still there, in one round trip."""
        found = await self._redis.get_many([_PREFIX + name for name in names]) if names else []
        kept = {name: orjson.loads(value) for name, value in zip(names, found, strict=True) if value is not None}
        return {
            name: [(owner, one) for owner, one in held["order"]] for name, held in kept.items() if held["name"] == name
        }
