"""What one product search asks for, and one page of its answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from activities.inputs import input_of
from domain.calls import AdmittedCall
from domain.envelope import Pagination
from domain.policy import Principal
from domain.products import ProductOutput, ProductSearchInput, ProductSearchOutput
from storage import products
from storage.objects import Ref
from storage.pages import Binding, Pages
from storage.products import After, Matching
from storage.vectors import Hit

_MATCHING = 0.75
_SPARE = 8
"""Rows read beyond a page, for those that have gone or become invisible since the search."""


@dataclass(frozen=True)
class Search:
    """A search as it was asked, with the place that its page token leads to."""

    admitted: AdmittedCall
    input: ProductSearchInput
    binding: Binding
    place: dict[str, Any]

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return self.admitted.principal

    @property
    def text(self) -> str:
        """What is looked for; empty where everything is listed."""
        return self.input.query.strip()

    @property
    def filters_key(self) -> str:
        """Equal for equal filters."""
        return self.input.filters.model_dump_json()

    @property
    def frozen(self) -> str | None:
        """The name of the order that the first page kept."""
        return self.place.get("frozen")


@dataclass(frozen=True)
class Page:
    """One page: products with the rank of the first, and the place of the next page, if there is one."""

    items: Sequence[ProductOutput]
    first_rank: int
    next_place: dict[str, Any] | None

    def answer(self, search: Search, matching: Matching, pages: Pages) -> tuple[ProductSearchOutput, Pagination]:
        """The page as its caller gets it."""
        token = None if self.next_place is None else pages.issue(search.binding, self.next_place)
        ranks = range(self.first_rank, self.first_rank + len(self.items))
        output = ProductSearchOutput(
            items=[products.summary(item, rank) for item, rank in zip(self.items, ranks, strict=True)],
            facets=matching.facets,
        )
        return output, Pagination(
            limit=search.input.limit,
            total=matching.total,
            total_is_lower_bound=matching.total_is_lower_bound,
            has_next=token is not None,
            next_token=token,
        )


def search_of(admitted: AdmittedCall, pages: Pages) -> Search:
    """The search that a call asks for.

    Raises:
        CohortError: `invalid_argument`: the input, or a page token that is not of this caller's same search.
    """
    asked = input_of(admitted.call, ProductSearchInput)
    question = asked.model_dump(mode="json", exclude={"limit", "next_token"})
    binding = Binding.of(admitted.principal, "products_search", question)
    place = pages.read(binding, asked.next_token) if asked.next_token is not None else {}
    return Search(admitted, asked, binding, place)


async def listed(tx: AsyncConnection, search: Search) -> Page:
    """A page of everything that passes policy and filters, by keyset; without a query, relevance is by title."""
    after = search.place.get("after")
    found = await products.page(
        tx,
        search.principal,
        search.input.filters,
        sort=search.input.sort,
        after=After.model_validate(after) if after is not None else None,
        limit=search.input.limit,
    )
    place = {"after": found.after.model_dump(mode="json")} if found.after is not None else None
    return Page(found.items, found.first_rank, place)


async def ranked(tx: AsyncConnection, search: Search, order: Sequence[Ref]) -> Page:
    """A page of a ranked search: what of `order` still exists, is visible and passes the filters, from its place on."""
    at, rank, limit = search.place.get("at", 0), search.place.get("rank", 1), search.input.limit
    items: list[ProductOutput] = []
    ends: list[int] = []
    while at < len(order) and len(items) <= limit:
        window = order[at : at + limit + 1 - len(items) + _SPARE]
        places = {ref: at + step for step, ref in enumerate(window, 1)}
        for item in await products.recheck(tx, search.principal, window, search.input.filters):
            items.append(item)
            ends.append(places[item.owner_group, item.id])
        at += len(window)
    if len(items) <= limit:
        return Page(items, rank, None)
    return Page(items[:limit], rank, {"at": ends[limit - 1], "rank": rank + limit})


async def in_order(tx: AsyncConnection, search: Search, order: Sequence[Ref], matches: frozenset[Ref]) -> list[Ref]:
    """The most relevant rows in the order that was asked for: by relevance as they are, or by price or title.

    A sort reorders the same rows that a search by relevance pages through: first `matches`, then the rest, so that
    the cheapest tents are tents. It needs all of them, so it is done once, before the order is frozen.
    """
    if search.input.sort == "relevance":
        return list(order)
    found = await products.recheck(tx, search.principal, order, search.input.filters)
    sign = {"price_asc": 1, "price_desc": -1}.get(search.input.sort, 0)
    found.sort(
        key=lambda item: (
            (item.owner_group, item.id) not in matches,
            sign * item.price,
            item.title.casefold(),
            item.owner_group,
            item.id,
        )
    )
    return [(item.owner_group, item.id) for item in found]


def matches(hits: Sequence[Hit]) -> frozenset[Ref]:
    """What a person would say was found: rows nearly as similar as the best, of those with the words if any have them.

    A search by meaning ranks every row, so an order by something else than relevance needs a line between what was
    meant and the rest. Seen on the demo catalogue: below three quarters of the best similarity the kind changes.
    """
    candidates = [hit for hit in hits if hit.by_words] or hits
    best = max((hit.similarity for hit in candidates if hit.similarity is not None), default=0.0)
    return frozenset(
        hit.ref
        for hit in candidates
        if best <= 0 or (hit.similarity is not None and hit.similarity >= _MATCHING * best)
    )
