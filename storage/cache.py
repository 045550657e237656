"""The response cache: what one caller was answered serves every caller who sees exactly the same.

Two levels: entries of this process (L1), and sealed entries in Redis that all workers share (L2). A key is the digest
of everything that an answer may depend on, the caller's whole scope and its epochs included, so that a change of who
may see what makes old entries unreachable: nothing is ever searched for deletion. Whoever takes an entry out must
still authorise its provenance again.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain import canonical
from domain.calls import Provenance, Usage
from domain.policy import Principal
from storage.redis_link import RedisLink
from storage.sealing import open_sealed, seal


@dataclass(frozen=True)
class Family:
    """One kind of cached thing: the prefix of its keys, whose scope they hold, and its lifetimes in seconds."""

    prefix: str
    scope: Literal["groups", "none"]
    local_seconds: float = 60
    shared_seconds: int = 300


class Families(Enum):
    """Every kind of key. `groups`: the key holds the caller's scope. `none`: the same for everybody who may ask."""

    LLM_RESPONSE = Family("llm:response", "groups")
    MODEL_LIST = Family("models:list", "groups")
    MODEL_DETAIL = Family("model", "groups")
    GROUP_CONFIG = Family("group:config", "none")
    GROUP_PERMISSIONS = Family("group:permissions", "none")
    USER_GROUPS = Family("user:groups", "none")
    USER_PERMISSIONS = Family("user:permissions", "none")
    PRODUCT_SEARCH = Family("products:search", "groups")
    PRODUCT_DETAIL = Family("product", "groups")


def scope_of(principal: Principal) -> str:
    """A digest of what a caller may see and do, without who it is: colleagues with the same scope share entries."""
    return canonical.digest(
        {
            "direct": frozenset(principal.direct),
            "effective": frozenset(principal.effective),
            "closure": frozenset(principal.closure),
            "clearance": principal.clearance.value,
            "permissions": frozenset(principal.permissions()),
            "billing": principal.billing_group,
            "epochs": principal.epochs,
        }
    )


def key_of(family: Families, scope: str | None, parts: Mapping[str, canonical.Value]) -> str:
    """The key of an entry; `scope` is the caller's `scope_of`.

    Raises:
        ValueError: the family's keys hold a scope and none was given, or the other way round.
    """
    of = family.value
    if (of.scope == "groups") != (scope is not None):
        raise ValueError(f"a key of {family.name} takes {'a' if scope is None else 'no'} scope")
    return f"cohort:{of.prefix}:{canonical.digest({'family': of.prefix, 'scope': scope, 'parts': parts})}"


@dataclass(frozen=True)
class Entry:
    """A cached answer: data as they were answered, what they cost then, and what they rest on."""

    data: dict[str, Any]
    usage: Usage
    provenance: tuple[Provenance, ...]
    stored_at: float

    def age(self) -> float:
        """Seconds since it was stored."""
        return max(0.0, time.time() - self.stored_at)


@dataclass
class Counts:
    """Hits by level and misses since this process started, for metrics and health; never for callers."""

    by_result: Counter[str] = field(default_factory=Counter[str])


class Cache:
    """Both levels. Redis being away costs only the second one."""

    def __init__(
        self, redis: RedisLink, key: bytes, *, max_entries: int = 4_096, max_bytes: int = 64 * 1024 * 1024
    ) -> None:
        self._redis = redis
        self._sealing = AESGCM(key)
        self._local = _Local(max_entries, max_bytes)
        self.counts = Counts()

    async def get(self, family: Families, keys: Sequence[str]) -> dict[str, Entry]:
        """The entries that are there: L1 first, and one round trip to Redis for all the others."""
        found: dict[str, Entry] = {}
        for key in keys:
            entry = self._local.get(key)
            if entry is not None:
                found[key] = entry
        self._count("l1", len(found))
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        values = await self._redis.get_many(missing) if missing else []
        for key, value in zip(missing, values, strict=True):
            entry = self._opened(key, value) if value is not None else None
            if entry is not None and entry.age() < family.value.shared_seconds:
                found[key] = entry
                self._local.put(key, entry, len(value or b""), self._local_seconds(family, entry))
                self._count("l2", 1)
        self._count("miss", len([key for key in keys if key not in found]))
        return found

    async def put(self, family: Families, key: str, entry: Entry) -> None:
        """Store an entry in both levels. The caller has made sure that no epoch of the key has moved."""
        content = orjson.dumps(
            {
                "key": key,
                "data": entry.data,
                "usage": entry.usage.model_dump(),
                "provenance": [one.model_dump() for one in entry.provenance],
                "stored_at": entry.stored_at,
            }
        )
        self._local.put(key, entry, len(content), self._local_seconds(family, entry))
        await self._redis.put(key, seal(self._sealing, content, key.encode()), family.value.shared_seconds)

    async def drop(self, key: str) -> None:
        """Forget one entry, because its provenance no longer holds."""
        self._local.drop(key)
        await self._redis.drop(key)

    def _opened(self, key: str, value: bytes) -> Entry | None:
        """The entry, or None where the value is not one that was sealed for this very key."""
        try:
            content = orjson.loads(open_sealed(self._sealing, value, key.encode()))
            if content["key"] != key:
                return None
            return Entry(
                data=content["data"],
                usage=Usage.model_validate(content["usage"]),
                provenance=tuple(Provenance.model_validate(one) for one in content["provenance"]),
                stored_at=float(content["stored_at"]),
            )
        except (InvalidTag, ValueError, KeyError, TypeError):
            return None

    def _local_seconds(self, family: Families, entry: Entry) -> float:
        return min(family.value.local_seconds, family.value.shared_seconds - entry.age())

    def _count(self, result: str, many: int) -> None:
        if many:
            self.counts.by_result[result] += many


class _Local:
    """L1: least recently used entries go first, by number and by bytes."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, tuple[Entry, int, float]] = OrderedDict()

    def get(self, key: str) -> Entry | None:
        kept = self._entries.get(key)
        if kept is None:
            return None
        entry, _, ends = kept
        if time.monotonic() >= ends:
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, key: str, entry: Entry, size: int, seconds: float) -> None:
        self.drop(key)
        if size > self._max_bytes or seconds <= 0:
            return
        self._entries[key] = (entry, size, time.monotonic() + seconds)
        self._bytes += size
        while self._bytes > self._max_bytes or len(self._entries) > self._max_entries:
            self.drop(next(iter(self._entries)))

    def drop(self, key: str) -> None:
        kept = self._entries.pop(key, None)
        if kept is not None:
            self._bytes -= kept[1]
