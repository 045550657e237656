"""The vector copy after administrative changes: rows are rewritten in place, so that nothing is embedded anew.

Safe to repeat: what is in line already is left alone. What cannot be rewritten, `Indexer` makes from SQL.
"""

from sqlalchemy import select

from storage import objects
from storage.indexing import Indexer
from storage.policy_sql import TABLES, ObjectKind
from storage.sql import Database
from storage.vector_rows import Kind, Ref
from storage.vectors import Vectors

_KINDS: dict[ObjectKind, Kind] = {"product": "products", "document": "passages"}
_SLICE = 1_000


class Reindexer:
    """Follows changes of access and of owner."""

    def __init__(self, database: Database, vectors: Vectors, indexer: Indexer) -> None:
        self._database = database
        self._vectors = vectors
        self._indexer = indexer

    async def access(self, kind: ObjectKind, owner: str, object_id: str, version: int) -> None:
        """Follow a change of access that made `version` of an object; its content is that of the version before."""
        async with self._vectors.writing[_KINDS[kind]]:
            async with self._database.read() as tx:
                found = (await objects.access_of(tx, kind, [(owner, object_id)])).get((owner, object_id))
            if found is not None and found[0] == version:
                await self._vectors.rewrite_access(_KINDS[kind], Ref(owner, object_id), found[1], version)
        await self._index(kind, owner, [object_id])

    async def transfer(self, owner: str, to: str) -> None:
        """Follow a transfer of all that a group owned to another."""
        for kind, rows in _KINDS.items():
            table = TABLES[kind]
            async with self._vectors.writing[rows]:
                await self._vectors.rewrite_owner(rows, owner, to)
            async with self._database.read() as tx:
                theirs = select(table.c.id).where(table.c.owner_group == to).order_by(table.c.id)
                ids = list((await tx.execute(theirs)).scalars())
            for start in range(0, len(ids), _SLICE):
                await self._index(kind, to, ids[start : start + _SLICE])

    async def _index(self, kind: ObjectKind, owner: str, ids: list[str]) -> None:
        if kind == "product":
            await self._indexer.products(owner, ids)
        else:
            await self._indexer.documents(owner, ids)
