"""Search the catalogue and look products up: candidates come from LanceDB, all that is shown from SQL."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.bounded import bounded
from activities.inputs import input_of
from activities.product_pages import Page, Search, in_order, listed, matches, ranked, search_of
from domain.answers import Answered
from domain.base import Contract
from domain.calls import AdmittedCall, Facts, Outcome, Provenance, Work
from domain.envelope import Pagination
from domain.errors import CohortError
from domain.policy import Condition, visibility
from domain.products import ProductGetInput, ProductOutput
from storage import products
from storage.answers import Answers
from storage.embeddings import Embedder, Vector
from storage.frozen import FrozenOrders
from storage.indexing import filter_tokens
from storage.objects import Ref
from storage.pages import Pages
from storage.products import Matching
from storage.redis_link import RedisLink
from storage.sql import Database
from storage.vectors import Vectors
from workflows import ports


@dataclass(frozen=True)
class _Order:
    """Candidates, best first; `frozen` is the name under which they are kept, None for those that were found now."""

    refs: Sequence[Ref]
    frozen: str | None
    matches: frozenset[Ref] = frozenset()


class ReadProducts:
    """`products_search` and `products_get`: one run of the model and one snapshot of SQL for the whole batch."""

    def __init__(
        self,
        database: Database,
        vectors: Vectors,
        embedder: Embedder,
        pages: Pages,
        redis: RedisLink,
        answers: Answers,
    ) -> None:
        self._database = database
        self._vectors = vectors
        self._embedder = embedder
        self._pages = pages
        self._frozen = FrozenOrders(redis)
        self._answers = answers

    @activity.defn(name=ports.read_products.name)
    async def run(self, work: Work) -> Answered:
        """One outcome a call; callers with the same rights who ask the same thing share the work."""
        distinct: dict[str, AdmittedCall] = {}
        names: dict[str, str] = {}
        for admitted in work.admitted():
            call = admitted.call
            names[call.id] = f"{work.principal_of[call.id]} {call.operation} {json.dumps(call.input, sort_keys=True)}"
            distinct.setdefault(names[call.id], admitted)
        answers = await self._distinct(distinct)
        outcomes = [answers[names[call.id]].model_copy(update={"call_id": call.id}) for call in work.calls]
        return Answered(outcomes=await bounded(outcomes, self._answers))

    async def _distinct(self, calls: dict[str, AdmittedCall]) -> dict[str, Outcome]:
        searches: dict[str, Search] = {}
        outcomes: dict[str, Outcome] = {}
        for name, admitted in calls.items():
            try:
                if admitted.call.operation == "products_search":
                    searches[name] = search_of(admitted, self._pages)
            except CohortError as error:
                outcomes[name] = _refused(admitted, error)
        orders = await self._orders(searches)
        counted: dict[tuple[Condition, str], Matching] = {}
        async with self._database.read() as tx:
            for name, admitted in calls.items():
                if name in outcomes:
                    continue
                try:
                    if name in searches:
                        outcomes[name] = await self._answer(tx, searches[name], orders.get(name), counted)
                    else:
                        outcomes[name] = await _get(tx, admitted)
                except CohortError as error:
                    outcomes[name] = _refused(admitted, error)
        return outcomes

    async def _answer(
        self,
        tx: AsyncConnection,
        search: Search,
        order: _Order | None,
        counted: dict[tuple[Condition, str], Matching],
    ) -> Outcome:
        page = await listed(tx, search) if order is None else await self._ranked(tx, search, order)
        counts = (visibility(search.principal), search.filters_key)
        if counts not in counted:
            counted[counts] = await products.matching(tx, search.principal, search.input.filters)
        output, pagination = page.answer(search, counted[counts], self._pages)
        return _found(search.admitted, output, page.items, pagination)

    async def _ranked(self, tx: AsyncConnection, search: Search, order: _Order) -> Page:
        refs = order.refs if order.frozen else await in_order(tx, search, order.refs, order.matches)
        page = await ranked(tx, search, refs)
        if page.next_place is None:
            return page
        frozen = order.frozen or await self._frozen.keep(search.principal, refs)
        return Page(page.items, page.first_rank, {**page.next_place, "frozen": frozen})

    async def _orders(self, searches: dict[str, Search]) -> dict[str, _Order]:
        """The order of each search that has a query: as its first page froze it, or found now."""
        asked = {name: search for name, search in searches.items() if search.text}
        frozen = await self._frozen.get([search.frozen for search in asked.values() if search.frozen is not None])
        orders = {
            name: _Order(frozen[search.frozen], search.frozen)
            for name, search in asked.items()
            if search.frozen is not None and search.frozen in frozen
        }
        due = {name: search for name, search in asked.items() if name not in orders}
        vectors = await self._embedder.embed_queries([search.text for search in due.values()])
        asks = {_ask(search): (search, vector) for search, vector in zip(due.values(), vectors, strict=True)}
        hits = await asyncio.gather(*(self._search(search, vector) for search, vector in asks.values()))
        found = dict(zip(asks, hits, strict=True))
        return orders | {name: found[_ask(search)] for name, search in due.items()}

    async def _search(self, search: Search, vector: Vector) -> _Order:
        filters = search.input.filters
        hits = await self._vectors.search_products(
            visibility(search.principal), filters, filter_tokens(filters), search.text, vector
        )
        return _Order([(hit.ref.owner_group, hit.ref.id) for hit in hits], None, matches(hits))


def _ask(search: Search) -> tuple[Condition, str, str]:
    """Equal for searches that have the same candidates."""
    return visibility(search.principal), search.filters_key, search.text


async def _get(tx: AsyncConnection, admitted: AdmittedCall) -> Outcome:
    asked = input_of(admitted.call, ProductGetInput)
    product = await products.get(tx, admitted.principal, asked.id, asked.owner_group)
    return _found(admitted, product, [product])


def _found(
    admitted: AdmittedCall, output: Contract, shown: Sequence[ProductOutput], pagination: Pagination | None = None
) -> Outcome:
    return Outcome(
        call_id=admitted.call.id,
        data=output.model_dump(mode="json", by_alias=True),
        facts=Facts.of(admitted.principal),
        pagination=pagination,
        provenance=tuple(
            Provenance(kind="product", owner_group=one.owner_group, id=one.id, version=one.version) for one in shown
        ),
    )


def _refused(admitted: AdmittedCall, error: CohortError) -> Outcome:
    return Outcome(call_id=admitted.call.id, error=error.body(), facts=Facts.of(admitted.principal))
