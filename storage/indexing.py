"""Brings the vector copy in line with SQL: what SQL holds now is embedded and written, what it no longer holds goes.

Safe to repeat and to interrupt: rows of the current version are left alone, so a second run does only what a first one
left undone. Until it has run, searches find less, never more, since SQL checks what they find.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.policy import ObjectAccess
from domain.products import AttributeValue, ProductFilters
from storage import objects
from storage.attributes import token_of
from storage.chunks import passages_of
from storage.embeddings import Embedder
from storage.policy_lance import token
from storage.sql import Database
from storage.tables import DOCUMENTS, PRODUCTS
from storage.texts import storable
from storage.vector_rows import PassageEntry, ProductEntry, Ref
from storage.vectors import Vectors


class Indexer:
    """Copies products and documents of one owner group from SQL to the vector store."""

    def __init__(self, database: Database, vectors: Vectors, embedder: Embedder) -> None:
        self._database = database
        self._vectors = vectors
        self._embedder = embedder

    async def products(self, owner: str, ids: Iterable[str]) -> None:
        """Bring these products in line."""
        wanted = sorted(set(ids))
        async with self._vectors.writing["products"]:
            async with self._database.read() as tx:
                rows = await _rows(tx, PRODUCTS, owner, wanted)
                access = await objects.access_of(tx, "product", [(owner, row.id) for row in rows])
            held = await self._vectors.product_versions([Ref(owner, one) for one in wanted])
            due = [row for row in rows if held.get(Ref(owner, row.id)) != row.version]
            texts = [product_text(row.title, row.category, row.attributes, row.description) for row in due]
            vectors = await self._embedder.embed(texts)
            await self._vectors.upsert_products(
                [
                    ProductEntry(
                        id=row.id,
                        version=row.version,
                        access=access[owner, row.id][1],
                        # Searched by its words only: a stock number means nothing to the embedding model.
                        text=f"{text} {row.sku}" if row.sku else text,
                        vector=vector,
                        price=row.price,
                        tokens=tokens_of(row.category, row.attributes),
                    )
                    for row, text, vector in zip(due, texts, vectors, strict=True)
                ]
            )
            present = {row.id for row in rows}
            await self._vectors.delete_products(ref for ref in held if ref.id not in present)

    async def documents(self, owner: str, ids: Iterable[str]) -> None:
        """Bring these documents in line, passage by passage."""
        wanted = sorted(set(ids))
        async with self._vectors.writing["passages"]:
            async with self._database.read() as tx:
                rows = await _rows(tx, DOCUMENTS, owner, wanted)
                access = await objects.access_of(tx, "document", [(owner, row.id) for row in rows])
            held = await self._vectors.document_versions(owner, wanted)
            for row in rows:
                if held.get(Ref(owner, row.id)) != row.version:
                    await self._document(row, access[owner, row.id][1])
            present = {row.id for row in rows}
            await self._vectors.delete_documents(owner, [ref.id for ref in held if ref.id not in present])

    async def _document(self, row: Row[Any], access: ObjectAccess) -> None:
        texts = await asyncio.to_thread(passages_of, row.title, row.text)
        vectors = await self._embedder.embed(texts)
        await self._vectors.upsert_document(
            [
                PassageEntry(
                    document=row.id,
                    version=row.version,
                    access=access,
                    chunk=at,
                    chunks=len(texts),
                    text=text,
                    vector=vector,
                )
                for at, (text, vector) in enumerate(zip(texts, vectors, strict=True))
            ]
        )


def product_text(title: str, category: str, attributes: dict[str, AttributeValue], description: str) -> str:
    """What a search looks at: title first, then category, facts and description."""
    return f"{title}. {category}. {facts_of(attributes)}. {description}"


def facts_of(attributes: dict[str, AttributeValue]) -> str:
    """Attributes in words: `lumens 600, waterproof, colour slate`; what is false is left out."""
    said = [name if value is True else f"{name} {value}" for name, value in attributes.items() if value is not False]
    return ", ".join(said).replace("_", " ")


def tokens_of(category: str, attributes: dict[str, AttributeValue]) -> list[str]:
    """A product's category and attributes as filters meet them; equal exactly where SQL's filters are."""
    facts = [token(f"attribute:{token_of(name, value)}") for name, value in attributes.items()]
    return [token(f"category:{storable(category)}"), *facts]


def filter_tokens(filters: ProductFilters) -> list[str]:
    """The tokens that a product must have to pass."""
    tokens = tokens_of(filters.category or "", filters.attributes)
    return tokens if filters.category is not None else tokens[1:]


async def _rows(tx: AsyncConnection, table: Any, owner: str, ids: Sequence[str]) -> Sequence[Row[Any]]:
    return (await tx.execute(select(table).where(table.c.owner_group == owner, table.c.id.in_(ids)))).all()
