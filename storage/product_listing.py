"""Listing the visible catalogue without a query: filters, totals, facets, and pages by keyset."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, and_, exists, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.base import Contract
from domain.policy import Level, Principal, visibility
from domain.products import FacetValue, ProductFilters, ProductOutput
from storage.attributes import token_of, value_in
from storage.policy_sql import where
from storage.tables import PRODUCT_ATTRIBUTES, PRODUCTS, Product
from storage.texts import storable

Sort = Literal["relevance", "price_asc", "price_desc", "title"]

MOST_COUNTED = 10_000
"""Totals are exact up to here."""
_CATEGORIES = 50
_NAMES = 10
_VALUES = 10
_COUNTED_PAIRS = 500


@dataclass(frozen=True)
class Matching:
    """How many rows pass policy and filters, and how often each value occurs among them."""

    total: int
    total_is_lower_bound: bool
    facets: dict[str, list[FacetValue]]


class After(Contract):
    """Where a page ended: the last row's sort values and its rank. What a page token carries."""

    price: float
    title_key: str
    owner_group: str
    id: str
    rank: int


@dataclass(frozen=True)
class Page:
    """Products in order; the first has the rank `first_rank`. `after` leads to the next page, None ends the list."""

    items: list[ProductOutput]
    first_rank: int
    after: After | None


async def matching(
    tx: AsyncConnection, principal: Principal, filters: ProductFilters, *, facets: bool = True
) -> Matching:
    """Count what passes policy and filters: in all, by category, and by the most frequent attributes.

    Facets are called `category` and `attributes.<name>`; each holds its most frequent values.
    """
    passing = [where(visibility(principal), Product), *narrowed(filters)]
    many = func.count().label("many")
    by_category = select(PRODUCTS.c.category, many).where(*passing).group_by(PRODUCTS.c.category)
    categories = {row.category: int(row.many) for row in await tx.execute(by_category)}
    total = sum(categories.values())
    found: dict[str, list[FacetValue]] = {}
    if facets:
        found["category"] = _most_frequent(categories, _CATEGORIES)
        found |= await _attribute_facets(tx, passing)
    return Matching(min(total, MOST_COUNTED), total > MOST_COUNTED, found)


async def page(
    tx: AsyncConnection,
    principal: Principal,
    filters: ProductFilters,
    *,
    sort: Sort = "relevance",
    after: After | None = None,
    limit: int = 50,
) -> Page:
    """One page of what passes policy and filters; without a query, relevance means by title."""
    c = PRODUCTS.c
    ties = (c.title_key, c.owner_group, c.id)
    order = {"price_asc": (c.price.asc(), *ties), "price_desc": (c.price.desc(), *ties)}.get(sort, ties)
    statement = select(PRODUCTS).where(where(visibility(principal), Product), *narrowed(filters))
    if after is not None:
        statement = statement.where(_beyond(sort, after))
    rows = (await tx.execute(statement.order_by(*order).limit(limit + 1))).all()
    first = after.rank + 1 if after else 1
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        items=[output(row) for row in rows[:limit]],
        first_rank=first,
        after=None
        if last is None
        else After(
            price=last.price,
            title_key=last.title_key,
            owner_group=last.owner_group,
            id=last.id,
            rank=first + limit - 1,
        ),
    )


def narrowed(filters: ProductFilters) -> list[ColumnElement[bool]]:
    """The filters as conditions on the products table."""
    c = PRODUCTS.c
    conditions: list[ColumnElement[bool]] = []
    if filters.category is not None:
        conditions.append(c.category == storable(filters.category))
    if filters.min_price is not None:
        conditions.append(c.price >= filters.min_price)
    if filters.max_price is not None:
        conditions.append(c.price <= filters.max_price)
    for name, value in sorted(filters.attributes.items()):
        conditions.append(
            exists()
            .where(
                PRODUCT_ATTRIBUTES.c.owner_group == c.owner_group,
                PRODUCT_ATTRIBUTES.c.product_id == c.id,
                PRODUCT_ATTRIBUTES.c.token == token_of(name, value),
            )
            .correlate(PRODUCTS)
        )
    return conditions


def output(row: Row[Any]) -> ProductOutput:
    """A row of the table as its readers see it."""
    return ProductOutput(
        id=row.id,
        sku=row.sku,
        title=row.title,
        description=row.description,
        category=row.category,
        price=row.price,
        currency=row.currency,
        attributes=row.attributes,
        owner_group=row.owner_group,
        access_level=Level(row.access_level),
        version=row.version,
        updated_at=datetime.fromtimestamp(row.updated_at, UTC).isoformat(timespec="milliseconds"),
    )


def _beyond(sort: Sort, after: After) -> ColumnElement[bool]:
    c = PRODUCTS.c
    later = tuple_(c.title_key, c.owner_group, c.id) > tuple_(
        literal(after.title_key), literal(after.owner_group), literal(after.id)
    )
    match sort:
        case "price_asc":
            return or_(c.price > after.price, and_(c.price == after.price, later))
        case "price_desc":
            return or_(c.price < after.price, and_(c.price == after.price, later))
        case _:
            return later


async def _attribute_facets(tx: AsyncConnection, passing: list[ColumnElement[bool]]) -> dict[str, list[FacetValue]]:
    c = PRODUCT_ATTRIBUTES.c
    many = func.count().label("many")
    of_its_product = and_(c.owner_group == PRODUCTS.c.owner_group, c.product_id == PRODUCTS.c.id)
    statement = (
        select(c.name, c.token, many)
        .select_from(PRODUCTS.join(PRODUCT_ATTRIBUTES, of_its_product))
        .where(*passing)
        .group_by(c.name, c.token)
        .order_by(many.desc(), c.token)
        .limit(_COUNTED_PAIRS)
    )
    values: dict[str, dict[str, int]] = {}
    for row in await tx.execute(statement):
        value = value_in(row.token, row.name)
        if value is not None:
            values.setdefault(row.name, {})[value] = int(row.many)
    names = sorted(values, key=lambda name: (-sum(values[name].values()), name))[:_NAMES]
    return {f"attributes.{name}": _most_frequent(values[name], _VALUES) for name in names}


def _most_frequent(counts: dict[str, int], limit: int) -> list[FacetValue]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return [FacetValue(value=value, count=count) for value, count in ranked]
