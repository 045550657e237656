"""Searching and reading products, from the batch to the answer."""

import itertools
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import select

from domain.calls import Outcome
from domain.errors import ErrorCode
from domain.policy import Level, Principal, visible
from domain.products import ProductRow
from storage import groups, products, snapshots
from storage.answers import Answers
from storage.indexing import Indexer
from storage.objects import access_of
from storage.tables import PRODUCTS
from tests.support.world import World, world

COLOURS = ("red", "green", "blue")
ODD = ["' OR '1'='1", '"; --', "a\x00b", "%_", "日本'語", "\\", "[]", "category:Lighting"]


def lamp(number: int, **columns: Any) -> ProductRow:
    usual = {
        "id": f"lamp-{number:03}",
        "title": f"Lamp {number % 7} of series {number:03}",
        "category": "Lighting" if number % 3 else "Garden",
        "price": float(number % 10),
        "attributes": {"colour": COLOURS[number % 3], "number": number},
    }
    return ProductRow.model_validate(usual | columns)


async def add(small: World, owner: str, rows: list[ProductRow], level: Level = Level.INTERNAL) -> None:
    async with small.parts.database.write() as tx:
        await products.upsert(tx, owner, rows, default_level=level)
    indexer = Indexer(small.parts.database, small.parts.vectors, small.parts.embedder)
    await indexer.products(owner, [row.id for row in rows])


@pytest_asyncio.fixture
async def shop(tmp_path: Path, temporal: str, redis_url: str) -> AsyncGenerator[World]:
    """45 lamps of acme's, five of research's, three of the partner's."""
    async with world(tmp_path, temporal=temporal, redis_url=redis_url, routes=[]) as small:
        await add(small, "acme", [lamp(number) for number in range(45)])
        await add(small, "acme-research", [lamp(number) for number in range(100, 105)], Level.CONFIDENTIAL)
        await add(small, "partner", [lamp(number) for number in range(3)], Level.PUBLIC)
        yield small


async def search(shop: World, user: str, **asked: Any) -> Outcome:
    [outcome] = await shop.batch(shop.call(user, "products_search", asked))
    return outcome


def items(outcome: Outcome) -> list[dict[str, Any]]:
    assert outcome.data is not None, outcome.error
    return list(outcome.data["items"])


def ref_of(item: dict[str, Any]) -> tuple[str, str]:
    return item["ownerGroup"], item["id"]


def code(outcome: Outcome) -> ErrorCode | None:
    return outcome.error.code if outcome.error else None


async def every_page(shop: World, user: str, **asked: Any) -> list[dict[str, Any]]:
    """The items of all pages; checks what must hold on each of them."""
    found: list[dict[str, Any]] = []
    token: str | None = None
    totals: set[int] = set()
    while True:
        outcome = await search(shop, user, **asked, **({"next_token": token} if token else {}))
        found += items(outcome)
        assert outcome.pagination is not None
        totals.add(outcome.pagination.total)
        token = outcome.pagination.next_token
        assert outcome.pagination.has_next == (token is not None)
        if token is None:
            break
    assert totals == {len(found)}
    assert [item["rank"] for item in found] == list(range(1, len(found) + 1))
    keys = [(item["ownerGroup"], item["id"]) for item in found]
    assert len(set(keys)) == len(keys)
    return found


@pytest.mark.parametrize("query", ["", "lamp of series 7", "something else"])
@pytest.mark.parametrize("sort", ["relevance", "price_asc", "price_desc", "title"])
async def test_pages_fit_together_in_every_order(shop: World, query: str, sort: str) -> None:
    found = await every_page(shop, "ada", query=query, sort=sort, limit=20)
    assert len(found) == 53
    prices, titles = [item["price"] for item in found], [item["title"].casefold() for item in found]
    if query and sort != "relevance":  # two runs: what matches, then the rest
        prices, titles = _after_the_first_run(prices, sort == "price_desc"), _after_the_first_run(titles)
    if sort == "title" or (sort == "relevance" and not query):
        assert titles == sorted(titles)
    if sort == "price_asc":
        assert prices == sorted(prices)
    if sort == "price_desc":
        assert prices == sorted(prices, reverse=True)


def _after_the_first_run(values: list[Any], falling: bool = False) -> list[Any]:
    """The values from the first that is out of order on."""
    for at, (one, other) in enumerate(itertools.pairwise(values), 1):
        if other > one if falling else other < one:
            return values[at:]
    return values


async def test_a_sort_puts_what_matches_before_what_is_only_similar(shop: World) -> None:
    curtains = [lamp(900 + n, title=f"Velvet curtain {n}", category="Textiles", price=90.0 + n) for n in range(3)]
    await add(shop, "acme", curtains)
    cheapest = items(await search(shop, "ada", query="velvet curtain", sort="price_asc", limit=4))
    assert [item["id"] for item in cheapest[:3]] == ["lamp-900", "lamp-901", "lamp-902"]
    assert cheapest[3]["price"] == 0
    meant = items(await search(shop, "ada", query="drapes", sort="price_desc", limit=3))
    assert [item["id"] for item in meant] == ["lamp-902", "lamp-901", "lamp-900"]


async def test_what_was_asked_for_comes_first(shop: World) -> None:
    await add(shop, "acme", [lamp(900, title="Velvet curtain", category="Textiles", sku="VC-77")])
    for query in ("velvet", "curtains", "VC-77", "drapes for a window"):
        assert items(await search(shop, "ada", query=query, limit=1))[0]["id"] == "lamp-900"
    answer = await search(shop, "ada", query="velvet", limit=1)
    assert answer.data is not None
    assert "score" not in str(answer.data).lower()


async def test_everybody_finds_exactly_what_is_visible(shop: World) -> None:
    """Rows with every kind of access, searched and listed by everybody, compared with the rule."""
    number = 200
    lists = [[], ["acme-sales"], ["partner"], ["acme"]]
    for owner in ("acme", "acme-sales", "partner"):
        rows: list[ProductRow] = []
        for level in Level:
            for allowed in lists:
                for restricted in lists:
                    for sensitive in (False, True):
                        number += 1
                        access = {"access_level": level, "allowed_groups": allowed, "restricted_groups": restricted}
                        rows.append(lamp(number, sensitive=sensitive, **access))
        await add(shop, owner, rows)
    async with shop.parts.database.read() as tx:
        callers = {user: shop.call(user, "products_search").caller for user in ("ada", "sam", "pat")}
        taken = await snapshots.take(tx, list(callers.values()))
        everything = await rows_of(shop)
    for user, principal in zip(callers, taken, strict=True):
        assert isinstance(principal, Principal)
        expected = {ref for ref, access in everything.items() if visible(principal, access)}
        for query in ("", "lamp"):
            found = await every_page(shop, user, query=query, limit=100)
            assert {(item["ownerGroup"], item["id"]) for item in found} == expected
            answer = await search(shop, user, query=query, limit=1)
            assert answer.data is not None
            assert sum(facet["count"] for facet in answer.data["facets"]["category"]) == len(expected)


async def rows_of(shop: World) -> dict[tuple[str, str], Any]:
    async with shop.parts.database.read() as tx:
        refs = [(row.owner_group, row.id) for row in await tx.execute(select(PRODUCTS.c.owner_group, PRODUCTS.c.id))]
        return {ref: access for ref, (_, access) in (await access_of(tx, "product", refs)).items()}


async def test_filters(shop: World) -> None:
    for query in ("", "lamp"):
        red = await every_page(shop, "ada", query=query, filters={"attributes": {"colour": "red"}}, limit=7)
        assert {item["attributes"]["colour"] for item in red} == {"red"}
        garden = await every_page(
            shop, "ada", query=query, filters={"category": "Garden", "min_price": 3, "max_price": 5}, limit=3
        )
        assert garden
        assert all(item["category"] == "Garden" and 3 <= item["price"] <= 5 for item in garden)
        seventh = await every_page(shop, "ada", query=query, filters={"attributes": {"number": 7}})
        assert seventh
        assert await every_page(shop, "ada", query=query, filters={"attributes": {"number": 7.0}}) == seventh


@pytest.mark.parametrize("odd", ODD)
async def test_odd_values_are_only_values(shop: World, odd: str) -> None:
    await add(shop, "acme", [lamp(901, category=odd, attributes={odd: odd, "colour": odd})])
    for query in ("", "lamp", odd):
        for filters in ({"category": odd}, {"attributes": {odd: odd}}, {"attributes": {"colour": odd}}):
            found = items(await search(shop, "ada", query=query, filters=filters))
            assert [item["id"] for item in found] == ["lamp-901"]
            assert items(await search(shop, "pat", query=query, filters=filters)) == []


async def test_a_ranked_search_keeps_its_order_between_pages(shop: World) -> None:
    first = await search(shop, "ada", query="lamp of series", limit=20)
    assert first.pagination is not None
    whole = [ref_of(item) for item in await every_page(shop, "ada", query="lamp of series", limit=20)]
    assert [ref_of(item) for item in items(first)] == whole[:20]
    gone = next(ref for ref in whole[25:] if ref[0] == "acme")
    async with shop.parts.database.write() as tx:
        await products.delete(tx, gone[0], [gone[1]])
    await add(shop, "acme", [lamp(999, title="Lamp of series lamp of series lamp of series")])
    second = await search(shop, "ada", query="lamp of series", limit=33, next_token=first.pagination.next_token)
    assert [ref_of(item) for item in items(second)] == [ref for ref in whole[20:] if ref != gone]
    assert items(second)[0]["rank"] == 21


async def test_pages_go_on_when_redis_has_lost_the_order(shop: World, redis_url: str) -> None:
    whole = await every_page(shop, "ada", query="lamp of series", limit=20, sort="price_desc")
    first = await search(shop, "ada", query="lamp of series", limit=20, sort="price_desc")
    assert first.pagination is not None
    async with Redis.from_url(redis_url) as redis:
        kept = [key async for key in redis.scan_iter("cohort:order:*")]
        assert kept
        await redis.delete(*kept)
    second = await search(
        shop, "ada", query="lamp of series", limit=20, sort="price_desc", next_token=first.pagination.next_token
    )
    assert items(second) == whole[20:40]


async def test_an_order_is_kept_once_however_often_it_is_asked_for(shop: World, redis_url: str) -> None:
    pepper = shop.parts.secrets.key("api-keys")
    async with shop.parts.database.write() as tx:
        await groups.create_user(tx, "eve", primary_group="acme-research")
        shop.keys = {**shop.keys, "eve": (await groups.create_key(tx, "eve", pepper=pepper)).id}
    async with Redis.from_url(redis_url) as redis:

        async def kept() -> set[bytes]:
            return {key async for key in redis.scan_iter("cohort:order:*")}

        for name in await kept():
            await redis.delete(name)
        await search(shop, "ada", query="lamp of series", limit=100)
        assert await kept() == set(), "there is no second page"
        firsts = [await search(shop, user, query="lamp of series", limit=20) for user in ("ada", "ada", "eve")]
        [name] = await kept()
        assert str(await redis.get(name)).count("lamp-") == 53
        await redis.expire(name, 5)
        firsts.append(await search(shop, "ada", query="lamp of series", limit=20))
        assert await redis.ttl(name) > 500, "the last one who asked has his ten minutes"
        await search(shop, "sam", query="lamp of series", limit=20)
        assert len(await kept()) == 2, "another group's order is its own"
    for user, first in zip(("ada", "ada", "eve", "ada"), firsts, strict=True):
        assert items(first) == items(firsts[0])
        assert first.pagination is not None
        token = first.pagination.next_token
        second = await search(shop, user, query="lamp of series", limit=20, next_token=token)
        assert [item["rank"] for item in items(second)] == list(range(21, 41))
        other = await search(
            shop, "eve" if user == "ada" else "ada", query="lamp of series", limit=20, next_token=token
        )
        assert code(other) is ErrorCode.INVALID_ARGUMENT, "a token stays its caller's"


async def test_access_is_decided_anew_for_each_page(shop: World) -> None:
    first = await search(shop, "ada", query="lamp", limit=45)
    assert first.pagination is not None
    async with shop.parts.database.write() as tx:
        rows = [lamp(number, restricted_groups=["acme-research"]) for number in range(45)]
        await products.upsert(tx, "acme", rows, default_level=Level.INTERNAL)
    second = await search(shop, "ada", query="lamp", limit=45, next_token=first.pagination.next_token)
    assert {item["ownerGroup"] for item in items(second)} <= {"acme-research", "partner"}
    assert second.pagination is not None
    assert second.pagination.total == 8


async def test_page_tokens_are_good_for_their_own_search_only(shop: World) -> None:
    for query in ("", "lamp"):
        first = await search(shop, "ada", query=query, limit=5)
        assert first.pagination is not None
        token = first.pagination.next_token
        assert token is not None
        assert len(items(await search(shop, "ada", query=query, limit=9, next_token=token))) == 9
        others: list[tuple[str, dict[str, Any]]] = [
            ("grace", {"query": query}),
            ("sam", {"query": query}),
            ("ada", {"query": query + "x"}),
            ("ada", {"query": query, "sort": "title"}),
            ("ada", {"query": query, "filters": {"category": "Garden"}}),
        ]
        for user, asked in others:
            assert code(await search(shop, user, next_token=token, **asked)) is ErrorCode.INVALID_ARGUMENT
        for broken in (token[:-2] + "xx", token + "A", "x", "é"):
            assert code(await search(shop, "ada", query=query, next_token=broken)) is ErrorCode.INVALID_ARGUMENT


async def test_one_bad_call_fails_alone(shop: World) -> None:
    good = shop.call("ada", "products_search", {"query": "lamp", "limit": 2})
    same = shop.call("ada", "products_search", {"query": "lamp", "limit": 2})
    calls = [
        good,
        shop.call("ada", "products_search", {"query": "lamp", "next_token": "broken"}),
        shop.call("ada", "products_search", {"limit": 0}),
        shop.call("ada", "products_get", {"id": "unknown"}),
        shop.call("ada", "products_get", {"id": "lamp-001"}),
        same,
    ]
    outcomes = await shop.batch(*calls)
    assert [outcome.call_id for outcome in outcomes] == [call.id for call in calls]
    assert [code(outcome) for outcome in outcomes] == [
        None,
        ErrorCode.INVALID_ARGUMENT,
        ErrorCode.INVALID_ARGUMENT,
        ErrorCode.NOT_FOUND,
        None,
        None,
    ]
    assert items(outcomes[0]) == items(outcomes[5])


async def test_a_product_is_read_by_those_who_see_it(shop: World) -> None:
    async def read(user: str, id: str, owner: str | None = None) -> Outcome:
        [outcome] = await shop.batch(shop.call(user, "products_get", {"id": id, "owner_group": owner}))
        return outcome

    seen = await read("ada", "lamp-100")
    assert seen.data is not None
    assert (seen.data["ownerGroup"], seen.data["accessLevel"], seen.data["version"]) == (
        "acme-research",
        "confidential",
        1,
    )
    hidden, unknown = await read("sam", "lamp-100"), await read("sam", "lamp-xyz")
    assert hidden.error == unknown.error
    assert code(hidden) is ErrorCode.NOT_FOUND
    assert code(await read("sam", "lamp-100", "acme-research")) is ErrorCode.NOT_FOUND
    assert code(await read("sam", "'; --")) is ErrorCode.NOT_FOUND
    both = await read("pat", "lamp-001")
    assert both.data is not None
    assert both.data["ownerGroup"] == "partner"
    nearer = await read("ada", "lamp-001")
    assert nearer.data is not None
    assert nearer.data["ownerGroup"] == "acme"


async def test_a_full_batch_is_answered_whatever_its_size(shop: World) -> None:
    long = "x" * 1_000
    await add(shop, "acme", [lamp(n, attributes={f"a{k}": long for k in range(20)}) for n in range(300, 330)])
    calls = [shop.call("ada", "products_search", {"query": f"lamp {n}", "limit": 100}) for n in range(8)]
    outcomes = await shop.batch(*calls)
    assert all(outcome.error is None for outcome in outcomes)
    away = [outcome for outcome in outcomes if outcome.stored]
    assert away, "8 answers of half a megabyte do not travel together"
    for outcome in away:
        data = await answers(shop).get(outcome.call_id)
        assert len(data["items"]) == 83


def answers(shop: World) -> Answers:
    return Answers(shop.parts.database, shop.parts.secrets.key("answers"))
