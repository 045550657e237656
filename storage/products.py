"""The catalogue in SQL: the authority on every product, its access and its version."""

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import not_found
from domain.ids import GROUP_ID, OBJECT_ID
from domain.policy import Level, ObjectAccess, Principal, visibility
from domain.products import ProductFilters, ProductOutput, ProductRow, ProductSummary
from storage import objects
from storage.attributes import token_of
from storage.objects import Draft, Ref, Upserted
from storage.policy_sql import where
from storage.product_listing import After, Matching, Page, matching, narrowed, output, page
from storage.tables import PRODUCT_ATTRIBUTES, PRODUCTS, Product
from storage.texts import storable

__all__ = [
    "After",
    "Matching",
    "Page",
    "access_of",
    "delete",
    "get",
    "ids_of",
    "matching",
    "output",
    "page",
    "recheck",
    "summary",
    "upsert",
]


async def upsert(tx: AsyncConnection, owner: str, rows: Sequence[ProductRow], *, default_level: Level) -> Upserted:
    """Create or change products of one owner group; `default_level` is for rows that name no access level.

    Raises:
        CohortError: `invalid_argument`: there is no such group.
        ValueError: two rows have the same id.
    """
    drafts = [_draft(owner, row, default_level) for row in rows]
    done = await objects.store(tx, "product", owner, drafts)
    moved = {row.id for row in done.rows if row.change != "unchanged"}
    if not moved:
        return done
    c = PRODUCT_ATTRIBUTES.c
    await tx.execute(PRODUCT_ATTRIBUTES.delete().where(c.owner_group == owner, c.product_id.in_(sorted(moved))))
    tokens = [
        {"owner_group": owner, "product_id": row.id, "token": token_of(name, value), "name": name}
        for draft, row in zip(drafts, rows, strict=True)
        if row.id in moved
        for name, value in draft.columns["attributes"].items()
    ]
    if tokens:
        await tx.execute(PRODUCT_ATTRIBUTES.insert(), tokens)
    return done


async def delete(tx: AsyncConnection, owner: str, ids: Collection[str]) -> list[str]:
    """Delete products of one owner group; the ids of those that were there."""
    return await objects.remove(tx, "product", owner, ids)


async def ids_of(tx: AsyncConnection, owner: str) -> set[str]:
    """The ids of every product of an owner group."""
    return await objects.ids_of(tx, "product", owner)


async def get(tx: AsyncConnection, principal: Principal, product_id: str, owner: str | None = None) -> ProductOutput:
    """One product. Where several groups have the id: the billing group's, a direct group's, an effective group's.

    Raises:
        CohortError: `not_found`, alike for a product that does not exist and for one that the caller may not see.
    """
    well_formed = OBJECT_ID.fullmatch(product_id) and (owner is None or GROUP_ID.fullmatch(owner))
    statement = select(PRODUCTS).where(
        PRODUCTS.c.id == (product_id if well_formed else ""), where(visibility(principal), Product)
    )
    if owner is not None:
        statement = statement.where(PRODUCTS.c.owner_group == (owner if well_formed else ""))
    found = [output(row) for row in await tx.execute(statement)]
    if not found:
        raise not_found("product")
    return min(found, key=lambda product: _distance(principal, product.owner_group))


async def recheck(
    tx: AsyncConnection, principal: Principal, refs: Iterable[Ref], filters: ProductFilters | None = None
) -> list[ProductOutput]:
    """Those of `refs` that exist, that the caller may see now and that pass the filters, in the order of `refs`."""
    wanted = list(dict.fromkeys(refs))
    statement = select(PRODUCTS).where(
        tuple_(PRODUCTS.c.owner_group, PRODUCTS.c.id).in_(wanted),
        where(visibility(principal), Product),
        *narrowed(filters or ProductFilters()),
    )
    found = {(row.owner_group, row.id): row for row in await tx.execute(statement)}
    return [output(found[ref]) for ref in wanted if ref in found]


def summary(product: ProductOutput, rank: int) -> ProductSummary:
    """A product as a row of a search."""
    return ProductSummary(
        id=product.id,
        title=product.title,
        category=product.category,
        price=product.price,
        currency=product.currency,
        attributes=product.attributes,
        owner_group=product.owner_group,
        rank=rank,
    )


def access_of(owner: str, row: ProductRow, default_level: Level) -> ObjectAccess:
    """Who may see a row once it is stored."""
    return ObjectAccess(
        owner_group=owner,
        access_level=row.access_level or default_level,
        allowed_groups=frozenset(row.allowed_groups or ()),
        restricted_groups=frozenset(row.restricted_groups or ()),
        sensitive=row.sensitive,
    )


def _draft(owner: str, row: ProductRow, default_level: Level) -> Draft:
    title = storable(row.title)
    return Draft(
        id=row.id,
        access=access_of(owner, row, default_level),
        columns={
            "sku": None if row.sku is None else storable(row.sku),
            "title": title,
            "title_key": title.casefold(),
            "description": storable(row.description),
            "category": storable(row.category),
            "price": row.price,
            "currency": row.currency,
            "attributes": {
                storable(name): storable(value) if isinstance(value, str) else value
                for name, value in row.attributes.items()
            },
        },
    )


def _distance(principal: Principal, owner: str) -> tuple[bool, bool, bool, str]:
    return owner != principal.billing_group, owner not in principal.direct, owner not in principal.effective, owner
