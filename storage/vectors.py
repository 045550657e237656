"""Hybrid search over products and passages in LanceDB: a folder or an `s3://` address.

A search runs twice, by words (BM25) and by meaning (cosine), both under the same filter of visibility, and the two
rankings are fused. What comes back are candidates: SQL decides what is shown. Writers may race, in this process or in
another: the primary key keeps a row single and no older version replaces a newer one.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, cast

import lancedb
import pyarrow as pa
from lancedb.index import HnswSq
from lancedb.query import MatchQuery
from lancedb.table import AsyncTable

from domain.policy import Condition, ObjectAccess
from domain.products import ProductFilters
from storage import fusion
from storage.embeddings import Vector
from storage.policy_lance import both, filter_of, holds_all, literal, within
from storage.vector_rows import (
    Kind,
    PassageEntry,
    ProductEntry,
    Ref,
    access_columns,
    indexes_of,
    product_key,
    ref_of,
    schema_of,
)

DEPTH = 1_000
EXACT_ROWS = 20_000
INDEX_FROM = 100_000
KEEP_VERSIONS = timedelta(minutes=10)
_MIB = 1 << 20
_ATTEMPTS = 20


@dataclass(frozen=True)
class Hit:
    """A product that a search found, in order. `similarity` is the cosine to the query where it was computed."""

    ref: Ref
    similarity: float | None
    by_words: bool


@dataclass(frozen=True)
class Passage:
    """A passage that a search found, in order: number `chunk` (from 0) of `chunks`, cut from that version of it."""

    ref: Ref
    chunk: int
    chunks: int
    version: int
    text: str
    similarity: float | None
    by_words: bool


# The type checker takes the defaults of this dataclass for required arguments.
_match: Callable[[str, str], MatchQuery] = cast(Any, MatchQuery)


class Vectors:
    """The two tables. Safe to share between tasks; not to be used across a fork."""

    def __init__(self, tables: Mapping[Kind, AsyncTable], *, index_from: int = INDEX_FROM) -> None:
        self._tables = tables
        self._index_from = index_from
        self._has_vector_index: dict[Kind, bool] = {"products": False, "passages": False}
        self.writing: dict[Kind, asyncio.Lock] = {"products": asyncio.Lock(), "passages": asyncio.Lock()}
        """Held by whoever compares a table with SQL and then writes it."""

    @classmethod
    async def open(cls, url: str, *, dimensions: int = 384, index_from: int = INDEX_FROM) -> Self:
        """Open or create the tables below `url`. Credentials of an S3 store come from the environment (`AWS_…`)."""
        connection = await lancedb.connect_async(
            url,
            # Without this, rows that another process has revoked would still be found.
            read_consistency_interval=timedelta(0),
            session=lancedb.Session(index_cache_size_bytes=128 * _MIB, metadata_cache_size_bytes=64 * _MIB),
        )
        tables: dict[Kind, AsyncTable] = {}
        for kind in ("products", "passages"):
            tables[kind] = await connection.create_table(kind, schema=schema_of(kind, dimensions), exist_ok=True)
        vectors = cls(tables, index_from=index_from)
        for kind in tables:
            await vectors._ensure_indexes(kind)
        return vectors

    async def search_products(
        self,
        condition: Condition,
        filters: ProductFilters,
        tokens: Sequence[str],
        text: str,
        vector: Vector,
        *,
        depth: int = DEPTH,
    ) -> list[Hit]:
        """The best `depth` products that pass `condition` and the filters, best first.

        `tokens` stand for the filters' category and attributes; `filters` gives the range of prices.
        """
        narrowing = [filter_of(condition), holds_all("tokens", tokens)]
        if filters.min_price is not None:
            narrowing.append(f"price >= {float(filters.min_price)!r}")
        if filters.max_price is not None:
            narrowing.append(f"price <= {float(filters.max_price)!r}")
        words, meaning = await self._both("products", both(narrowing), text, vector, depth, [])
        order = fusion.fuse(fusion.ranked(_scores(words)), fusion.ranked(_scores(meaning)))
        similar, found = dict(_scores(meaning)), {key for key, _ in _scores(words)}
        return [Hit(ref_of(key), similar.get(key), key in found) for key in order[:depth]]

    async def search_passages(
        self, condition: Condition, text: str, vector: Vector, *, depth: int = 100
    ) -> list[Passage]:
        """The best `depth` passages of documents that pass `condition`, best first."""
        words, meaning = await self._both(
            "passages", filter_of(condition), text, vector, depth, ["chunk", "chunks", "version", "text"]
        )
        order = fusion.fuse(fusion.ranked(_scores(words)), fusion.ranked(_scores(meaning)))
        similar, found = dict(_scores(meaning)), {key for key, _ in _scores(words)}
        rows = {row["key"]: row for row in (*words, *meaning)}
        return [
            Passage(
                ref=ref_of(key),
                chunk=rows[key]["chunk"],
                chunks=rows[key]["chunks"],
                version=rows[key]["version"],
                text=rows[key]["text"],
                similarity=similar.get(key),
                by_words=key in found,
            )
            for key in order[:depth]
        ]

    async def product_versions(self, refs: Iterable[Ref]) -> dict[Ref, int]:
        """The version of each product's row, where there is one."""
        rows = await self._scan("products", within("key", [product_key(ref) for ref in refs]), ["key", "version"])
        return {ref_of(row["key"]): row["version"] for row in rows}

    async def document_versions(self, owner_group: str, documents: Iterable[str]) -> dict[Ref, int | None]:
        """The version of each document whose passages are all there; None where they are incomplete or mixed."""
        where = both([within("owner_group", [owner_group]), within("document", documents)])
        rows = await self._scan("passages", where, ["key", "version", "chunks"])
        passages: dict[Ref, list[tuple[int, int]]] = {}
        for row in rows:
            passages.setdefault(ref_of(row["key"]), []).append((row["version"], row["chunks"]))
        whole = {ref: set(found) == {(found[0][0], len(found))} for ref, found in passages.items()}
        return {ref: found[0][0] if whole[ref] else None for ref, found in passages.items()}

    async def upsert_products(self, entries: Sequence[ProductEntry]) -> None:
        """Write products by key; a row of a newer version stays."""
        await self._merge("products", [entry.row() for entry in entries])

    async def upsert_document(self, passages: Sequence[PassageEntry]) -> None:
        """Write all passages of one or several documents, then drop what older versions left."""
        await self._merge("passages", [passage.row() for passage in passages])
        versions = {Ref(p.access.owner_group, p.document): p.version for p in passages}
        older = [
            f"(owner_group = {literal(ref.owner_group)} AND document = {literal(ref.id)} AND version < {version:d})"
            for ref, version in sorted(versions.items())
        ]
        if older:
            await self._tables["passages"].delete(" OR ".join(older))

    async def delete_products(self, refs: Iterable[Ref]) -> None:
        """Forget products."""
        keys = [product_key(ref) for ref in refs]
        if keys:
            await self._tables["products"].delete(within("key", keys))

    async def delete_documents(self, owner_group: str, documents: Iterable[str]) -> None:
        """Forget all passages of documents of one group."""
        named = list(documents)
        if named:
            where = both([within("owner_group", [owner_group]), within("document", named)])
            await self._tables["passages"].delete(where)

    async def rewrite_access(self, kind: Kind, ref: Ref, access: ObjectAccess, version: int) -> None:
        """Give an object's rows of the version before this one the access of this one; other rows stay as they are."""
        mine = literal(product_key(ref)) if kind == "products" else literal(ref.id)
        where = f"key = {mine}" if kind == "products" else f"document = {mine}"
        before = f"owner_group = {literal(ref.owner_group)} AND {where} AND version = {version - 1:d}"
        found = await self._tables[kind].query().where(before).to_arrow()
        rows = cast(list[dict[str, Any]], found.to_pylist())
        await self._merge(kind, [{**row, **access_columns(access), "version": version} for row in rows])

    async def rewrite_owner(self, kind: Kind, owner: str, to: str) -> None:
        """Give all rows of one group to another, each with the version after its own."""
        await self._tables[kind].update(
            where=within("owner_group", [owner]),
            updates_sql={
                "key": f"concat({literal(to + '/')}, substr(key, {len(owner) + 2:d}))",
                "owner_group": literal(to),
                "version": "version + 1",
            },
        )

    async def count(self, kind: Kind, condition: Condition | None = None) -> int:
        """How many rows there are, or pass `condition`."""
        return await self._tables[kind].count_rows(filter_of(condition) if condition is not None else None)

    async def count_documents(self) -> int:
        """How many documents there are: each has a first passage."""
        return await self._tables["passages"].count_rows("chunk = 0")

    async def optimize(self, kind: Kind) -> None:
        """Compact, bring the indexes up to date, and build a vector index once exact search would get slow."""
        table = self._tables[kind]
        async with self.writing[kind]:
            await table.optimize(cleanup_older_than=KEEP_VERSIONS)
            if not self._has_vector_index[kind] and await table.count_rows() >= self._index_from:
                await table.create_index("vector", config=HnswSq(distance_type="cosine"))
                self._has_vector_index[kind] = True

    async def _both(
        self, kind: Kind, where: str, text: str, vector: Vector, depth: int, columns: list[str]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows by words and by meaning, with `key`, `score` and `columns`."""
        return await asyncio.gather(
            self._by_words(kind, where, text, depth, columns), self._by_meaning(kind, where, vector, depth, columns)
        )

    async def _by_words(
        self, kind: Kind, where: str, text: str, depth: int, columns: list[str]
    ) -> list[dict[str, Any]]:
        # A match query takes the text as words; the query-string parser would choke on quotes and operators.
        words = text.encode("utf-8", "replace").decode()
        if not words.strip():
            return []
        query = self._tables[kind].query().nearest_to_text(_match(words, "text")).where(where)
        found = await query.select(["key", *columns, "_score"]).limit(depth).to_arrow()
        return _with_scores(found, "_score", 1.0)

    async def _by_meaning(
        self, kind: Kind, where: str, vector: Vector, depth: int, columns: list[str]
    ) -> list[dict[str, Any]]:
        table = self._tables[kind]
        query = table.query().nearest_to(vector).distance_type("cosine").where(where)
        # An index loses most of its recall under a narrow filter, and there exact search is the faster one too.
        if not self._has_vector_index[kind] or await table.count_rows(where) <= EXACT_ROWS:
            query = query.bypass_vector_index()
        else:
            query = query.ef(max(100, depth)).refine_factor(3)
        found = await query.select(["key", *columns, "_distance"]).limit(depth).to_arrow()
        return _with_scores(found, "_distance", -1.0)

    async def _scan(self, kind: Kind, where: str, columns: list[str]) -> list[dict[str, Any]]:
        found = await self._tables[kind].query().where(where).select(columns).to_arrow()
        return cast(list[dict[str, Any]], found.to_pylist())

    async def _merge(self, kind: Kind, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        table = self._tables[kind]
        merge = table.merge_insert("key").when_matched_update_all(where="target.version <= source.version")
        await merge.when_not_matched_insert_all().execute(pa.Table.from_pylist(rows, schema=await table.schema()))

    async def _ensure_indexes(self, kind: Kind) -> None:
        """Create what is missing; of two processes that start at once, one is told to look again."""
        table, wanted = self._tables[kind], indexes_of(kind)
        for attempt in range(_ATTEMPTS):
            present = {column for index in await table.list_indices() for column in index.columns}
            self._has_vector_index[kind] = "vector" in present
            try:
                for column in wanted.keys() - present:
                    await table.create_index(column, config=wanted[column], replace=False)
                return
            except RuntimeError:
                if attempt == _ATTEMPTS - 1:
                    raise
                await asyncio.sleep(0.05 * (attempt + 1))


def _with_scores(found: Any, column: str, sign: float) -> list[dict[str, Any]]:
    """The rows with `score`: higher is better; a cosine distance becomes the similarity."""
    offset = 1.0 if sign < 0 else 0.0
    rows = cast(list[dict[str, Any]], found.to_pylist())
    for row in rows:
        row["score"] = offset + sign * row.pop(column)
    return rows


def _scores(rows: list[dict[str, Any]]) -> list[tuple[str, float]]:
    return [(row["key"], row["score"]) for row in rows]
