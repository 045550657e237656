"""The order that a ranked search found, kept for ten minutes, so that its pages fit together.

Only ids are kept; what they stand for is read and authorised anew for each page. Without Redis, or once the time is
over, the search is run again and goes on at the same place.

An order is called after what it holds and who may see that, so that a search which many repeat is kept once: a
thousand ids are some 40 KB, and whoever asks the same thing all day would fill Redis with them.
"""

from collections.abc import Sequence

import orjson

from domain import canonical
from domain.policy import Principal, visibility
from storage.objects import Ref
from storage.policy_lance import filter_of
from storage.redis_link import RedisLink

LIFETIME = 600
"""Seconds."""
_PREFIX = "cohort:order:"


class FrozenOrders:
    """Orders by their names, which travel in sealed page tokens only."""

    def __init__(self, redis: RedisLink) -> None:
        self._redis = redis

    async def keep(self, principal: Principal, order: Sequence[Ref]) -> str:
        """Keep an order that was found for this caller, for another ten minutes; returns its name."""
        content = orjson.dumps(order)
        name = canonical.digest({"scope": filter_of(visibility(principal)), "order": content.decode()})
        if not await self._redis.prolong(_PREFIX + name, LIFETIME):
            # The name is in the value too: a reply that belongs to another command must not pass for this order.
            value = orjson.dumps({"name": name, "order": orjson.Fragment(content)})
            await self._redis.put(_PREFIX + name, value, LIFETIME)
        return name

    async def get(self, names: Sequence[str]) -> dict[str, list[Ref]]:
        """Those that are still there, in one round trip."""
        found = await self._redis.get_many([_PREFIX + name for name in names]) if names else []
        kept = {name: orjson.loads(value) for name, value in zip(names, found, strict=True) if value is not None}
        return {
            name: [(owner, one) for owner, one in held["order"]] for name, held in kept.items() if held["name"] == name
        }
