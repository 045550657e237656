"""The response cache: both levels, its keys, and what it does without Redis."""

import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from domain.calls import Provenance, Usage
from domain.policy import Grant, Level, Principal
from storage.cache import Cache, Entry, Families, key_of, scope_of
from storage.redis_link import RedisLink

KEY = bytes(range(32))
FAMILY = Families.LLM_RESPONSE


def principal(**changes: Any) -> Principal:
    grant = Grant(permission="completions:create", group="acme-research", source="acme", kind="shared")
    known = Principal(
        user_id="ada",
        key_id="k",
        direct=("acme-research",),
        effective=("acme", "acme-research"),
        closure=("acme", "acme-research", "club"),
        clearance=Level.CONFIDENTIAL,
        grants=(grant,),
        billing_group="acme-research",
        epochs={"group:acme": 1, "policy": 4},
    )
    return known.model_copy(update=changes)


def entry(text: str = "An answer.", stored_at: float | None = None) -> Entry:
    return Entry(
        data={"text": text},
        usage=Usage(provider="p", model="m", prompt_tokens=3),
        provenance=(Provenance(kind="document", owner_group="acme", id="d", version=2),),
        stored_at=time.time() if stored_at is None else stored_at,
    )


def key(name: str) -> str:
    return key_of(FAMILY, scope_of(principal()), {"prompt": name})


@pytest_asyncio.fixture
async def link(redis_url: str) -> AsyncGenerator[RedisLink]:
    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()
    link = RedisLink(redis_url)
    yield link
    await link.close()


async def test_what_one_worker_stores_another_finds(link: RedisLink) -> None:
    mine, theirs = Cache(link, KEY), Cache(link, KEY)
    kept = entry()
    await mine.put(FAMILY, key("a"), kept)

    assert await mine.get(FAMILY, [key("a"), key("b")]) == {key("a"): kept}
    assert await theirs.get(FAMILY, [key("b"), key("a")]) == {key("a"): kept}
    assert await theirs.get(FAMILY, [key("a")]) == {key("a"): kept}

    assert mine.counts.by_result == {"l1": 1, "miss": 1}
    assert theirs.counts.by_result == {"l2": 1, "miss": 1, "l1": 1}


async def test_a_dropped_entry_is_gone_in_both_levels(link: RedisLink) -> None:
    cache = Cache(link, KEY)
    await cache.put(FAMILY, key("a"), entry())

    await cache.drop(key("a"))

    assert await cache.get(FAMILY, [key("a")]) == {}


async def test_redis_holds_nothing_readable(link: RedisLink, redis_url: str) -> None:
    await Cache(link, KEY).put(FAMILY, key("a"), entry("the secret answer"))

    async with Redis.from_url(redis_url) as redis:
        value = await redis.get(key("a"))
        assert isinstance(value, bytes)
        assert b"secret" not in value
        assert 295 < await redis.ttl(key("a")) <= 300


async def test_a_value_that_was_sealed_for_another_key_is_a_miss(link: RedisLink, redis_url: str) -> None:
    """A reply that belongs to another command, or an entry that was copied from key to key."""
    await Cache(link, KEY).put(FAMILY, key("a"), entry())

    async with Redis.from_url(redis_url) as redis:
        await redis.copy(key("a"), key("b"))
        await redis.set(key("c"), b"junk")
        await redis.set(key("d"), b"")
    found = await Cache(link, KEY).get(FAMILY, [key("b"), key("c"), key("d")])

    assert found == {}
    assert await Cache(link, bytes(32)).get(FAMILY, [key("a")]) == {}


async def test_an_entry_of_another_servers_clock_is_no_older_than_its_lifetime(link: RedisLink) -> None:
    await Cache(link, KEY).put(FAMILY, key("old"), entry(stored_at=time.time() - 301))

    assert await Cache(link, KEY).get(FAMILY, [key("old")]) == {}


async def test_the_first_level_is_bounded_in_entries_and_bytes(tmp_path: Path) -> None:
    nowhere = RedisLink(f"unix://{tmp_path / 'none'}")
    few = Cache(nowhere, KEY, max_entries=2)
    small = Cache(nowhere, KEY, max_bytes=2_000)

    for name in ("a", "b", "c"):
        await few.put(FAMILY, key(name), entry())
        await few.get(FAMILY, [key("a")])
        await small.put(FAMILY, key(name), entry("x" * 800))
    await small.put(FAMILY, key("huge"), entry("x" * 3_000))

    assert list(await few.get(FAMILY, [key("a"), key("b"), key("c")])) == [key("a"), key("c")]
    assert key("huge") not in await small.get(FAMILY, [key("huge")])
    assert len(await small.get(FAMILY, [key("a"), key("b"), key("c")])) == 1
    await nowhere.close()


async def test_without_redis_nothing_waits(tmp_path: Path) -> None:
    link = RedisLink(f"unix://{tmp_path / 'none'}")
    cache = Cache(link, KEY)
    began = time.perf_counter()

    for number in range(200):
        await cache.put(FAMILY, key(str(number)), entry())
        await cache.get(FAMILY, [key(f"other {number}")])

    assert time.perf_counter() - began < 2
    assert link.away
    assert not await link.probe()
    assert key("1") in await cache.get(FAMILY, [key("1")])
    await link.close()


async def test_redis_is_found_again_once_it_is_back(redis_url: str) -> None:
    link = RedisLink(redis_url, pause=60)
    link._gone()  # pyright: ignore[reportPrivateUsage]
    assert link.away
    assert not await link.put("test:back", b"1", 5)

    assert await link.probe()

    assert not link.away
    assert await link.put("test:back", b"1", 5)
    await link.close()


@pytest.mark.parametrize(
    "change",
    [
        {"direct": ("acme",)},
        {"effective": ("acme-research",)},
        {"closure": ("acme", "acme-research")},
        {"clearance": Level.INTERNAL},
        {"grants": ()},
        {"scopes": ("products:read",)},
        {"billing_group": "acme"},
        {"epochs": {"group:acme": 2, "policy": 4}},
        {"epochs": {"group:acme": 1, "policy": 4, "public": 0}},
    ],
)
def test_whoever_may_see_or_do_something_else_has_another_key(change: dict[str, Any]) -> None:
    parts = {"prompt": "a"}

    assert key_of(FAMILY, scope_of(principal(**change)), parts) != key_of(FAMILY, scope_of(principal()), parts)


def test_colleagues_share_keys() -> None:
    colleague = principal(user_id="grace", key_id="other", administers=("acme",))

    assert key_of(FAMILY, scope_of(colleague), {"prompt": "a"}) == key_of(
        FAMILY, scope_of(principal()), {"prompt": "a"}
    )


names = st.lists(st.text(alphabet="ab:,", min_size=1, max_size=4), max_size=3).map(tuple)


@given(names, names, names, names)
def test_no_two_scopes_meet_in_one_key(one: Any, two: Any, three: Any, four: Any) -> None:
    first = key_of(FAMILY, scope_of(principal(effective=one, closure=two)), {"prompt": "a"})
    second = key_of(FAMILY, scope_of(principal(effective=three, closure=four)), {"prompt": "a"})

    assert (first == second) == (set(one) == set(three) and set(two) == set(four))


def test_a_family_that_holds_a_scope_takes_no_key_without_one() -> None:
    with pytest.raises(ValueError, match="LLM_RESPONSE"):
        key_of(FAMILY, None, {})
    with pytest.raises(ValueError, match="GROUP_CONFIG"):
        key_of(Families.GROUP_CONFIG, scope_of(principal()), {})
    assert key_of(Families.GROUP_CONFIG, None, {"group": "acme"}).startswith("cohort:group:config:")
