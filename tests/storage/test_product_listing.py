"""Listing: filters, totals, facets, pages."""

import random

import pytest

from domain.policy import Level
from domain.products import FacetValue, ProductFilters, ProductOutput
from storage import products
from storage.attributes import token_of, value_in
from storage.product_listing import Sort
from tests.storage.catalogue import row
from tests.storage.worlds import World


@pytest.fixture
async def stocked(world: World) -> World:
    chosen = random.Random(7)
    async with world.database.write() as tx:
        for owner, denied in [("acme", []), ("acme", ["sales"]), ("research", []), ("partner", [])]:
            rows = [
                row(
                    f"{owner}-{len(denied)}-{number}",
                    title=f"{chosen.choice(['Äther', 'zinc', 'Zinc', 'lamp', 'LAMP'])} {chosen.randrange(5)}",
                    category=chosen.choice(["Tents", "Lighting"]),
                    price=chosen.choice([1, 2.5, 2.5, 10]),
                    attributes={"colour": chosen.choice(["red", "blue"]), "dry": bool(number % 2), "size": number % 3},
                    restricted_groups=denied,
                    access_level=Level.PUBLIC if owner == "partner" else None,
                )
                for number in range(12)
            ]
            await products.upsert(tx, owner, rows, default_level=Level.INTERNAL)
    return world


@pytest.mark.parametrize(("user", "total"), [("sam", 24), ("rosa", 48), ("pat", 12), ("root", 12)])
async def test_total_and_facets_count_visible_rows_only(stocked: World, user: str, total: int) -> None:
    async with stocked.database.read() as tx:
        found = await products.matching(tx, await stocked.principal(user), ProductFilters())
    assert (found.total, found.total_is_lower_bound) == (total, False)
    for facet in ("category", "attributes.colour", "attributes.dry"):
        assert sum(value.count for value in found.facets[facet]) == total
    assert found.facets["attributes.dry"] == [
        FacetValue(value="false", count=total // 2),
        FacetValue(value="true", count=total // 2),
    ]
    assert {value.value for value in found.facets["attributes.size"]} == {"0", "1", "2"}


@pytest.mark.parametrize("sort", ["relevance", "price_asc", "price_desc", "title"])
@pytest.mark.parametrize("limit", [1, 5, 100])
async def test_pages_give_every_row_once_in_order(stocked: World, sort: Sort, limit: int) -> None:
    rosa = await stocked.principal("rosa")
    seen: list[tuple[float, str]] = []
    ids: list[str] = []
    after = None
    while True:
        async with stocked.database.read() as tx:
            page = await products.page(tx, rosa, ProductFilters(), sort=sort, after=after, limit=limit)
        assert page.first_rank == len(ids) + 1
        ids += [one.id for one in page.items]
        seen += [(one.price, one.title.casefold()) for one in page.items]
        after = page.after
        if after is None:
            break
    assert len(ids) == len(set(ids)) == 48
    prices = [price for price, _ in seen]
    match sort:
        case "price_asc":
            assert prices == sorted(prices)
        case "price_desc":
            assert prices == sorted(prices, reverse=True)
        case _:
            runs = [title for title, before in zip(seen, [(0, ""), *seen], strict=False) if title[1] != before[1]]
            assert len(runs) == len({title for _, title in seen}), "equal titles stand together"


@pytest.mark.parametrize(
    "filters",
    [
        ProductFilters(category="Tents"),
        ProductFilters(min_price=2.5),
        ProductFilters(max_price=2.5),
        ProductFilters(attributes={"dry": True}),
        ProductFilters(attributes={"size": 1.0}),
        ProductFilters(attributes={"size": 1, "colour": "red"}, min_price=2),
    ],
)
async def test_filters(stocked: World, filters: ProductFilters) -> None:
    rosa = await stocked.principal("rosa")
    async with stocked.database.read() as tx:
        everything = await products.page(tx, rosa, ProductFilters(), limit=100)
        found = await products.page(tx, rosa, filters, limit=100)
        total = (await products.matching(tx, rosa, filters, facets=False)).total
    expected = [one.id for one in everything.items if passes(filters, one)]
    assert [one.id for one in found.items] == expected
    assert total == len(expected) > 0


def passes(filters: ProductFilters, product: ProductOutput) -> bool:
    return (
        filters.category in (None, product.category)
        and (filters.min_price is None or product.price >= filters.min_price)
        and (filters.max_price is None or product.price <= filters.max_price)
        and all(product.attributes[name] == value for name, value in filters.attributes.items())
    )


@pytest.mark.parametrize("value", [True, "1", 1.5, 9])
async def test_attributes_are_equal_in_type_too(stocked: World, value: str | float) -> None:
    rosa = await stocked.principal("rosa")
    async with stocked.database.read() as tx:
        assert (await products.matching(tx, rosa, ProductFilters(attributes={"size": value}))).total == 0


def test_tokens_are_equal_where_values_are() -> None:
    assert token_of("size", 1) == token_of("size", 1.0) == "size=1"
    assert token_of("size", 1) != token_of("size", True)
    assert token_of("size", 2**60) != token_of("size", 2**60 + 1)
    assert token_of("a", "=b") != token_of("a=", "b")
    assert value_in(token_of("a=", "b"), "a=") == "b"
    assert value_in(token_of("a", "x" * 300), "a") is None
    assert len(token_of("a", "x" * 300)) == 65
