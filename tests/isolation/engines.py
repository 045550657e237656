"""The engines that a policy is compiled for, each holding the same objects."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import bindparam, delete, select, update

from domain.calls import Caller
from domain.errors import CohortError
from domain.policy import Condition, Principal
from domain.products import ProductFilters
from storage import migrate, objects, snapshots
from storage.objects import Draft
from storage.policy_sql import where
from storage.sql import Database
from storage.sweep import refresh_statistics
from storage.tables import DOCUMENTS, GROUPS, KEYS, MEMBERSHIPS, PRODUCTS, USERS, Document, Product
from storage.vector_rows import PassageEntry, ProductEntry
from storage.vector_rows import Ref as VectorRef
from storage.vectors import Vectors
from tests.isolation.reference import Ask, Group, Kind, Ref, Thing
from tests.isolation.worlds import access_of, grouped

_COLUMNS: dict[Kind, dict[str, Any]] = {
    "document": {"title": "", "source": "", "text": ""},
    "product": {
        "sku": None,
        "title": "",
        "title_key": "",
        "description": "",
        "category": "",
        "price": 1.0,
        "currency": "EUR",
        "attributes": {},
    },
}
_LONG_AGO = 1.0
_WORD, _VECTOR = "thing", [1.0, 0.0]


class Engine(Protocol):
    """Holds objects, and answers which of them pass a condition."""

    name: str

    async def add(self, things: Sequence[Thing]) -> None: ...

    async def remove(self, things: Sequence[Thing]) -> None: ...

    async def passing(self, condition: Condition) -> set[Ref]: ...


class Sql:
    """SQLite or PostgreSQL: keeps the made-up groups and callers too."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._database = Database.open(url)
        self.name = self._database.dialect

    async def create(self, groups: Sequence[str]) -> None:
        await migrate.upgrade(self._url)
        plain = {"access_level": "public", "created_at": 0}
        empty = ("permissions", "shared_permissions", "providers", "models", "artifact_prefixes")
        async with self._database.write() as tx:
            rows = [{"id": group, "name": group, **plain, **{column: [] for column in empty}} for group in groups]
            await tx.execute(GROUPS.insert(), rows)

    async def close(self) -> None:
        await self._database.close()

    async def add(self, things: Sequence[Thing]) -> None:
        async with self._database.write() as tx:
            for (kind, owner), own in sorted(grouped(things).items()):
                drafts = [Draft(thing.id, access_of(thing), _COLUMNS[kind]) for thing in own]
                await objects.store(tx, kind, owner, drafts)
            if len(things) > 100:
                await refresh_statistics(tx)

    async def remove(self, things: Sequence[Thing]) -> None:
        async with self._database.write() as tx:
            for (kind, owner), own in sorted(grouped(things).items()):
                await objects.remove(tx, kind, owner, [thing.id for thing in own])

    async def take(self, world: dict[str, Group], asks: Sequence[Ask]) -> list[Principal | CohortError]:
        """Store the world and a user with a key for each ask, and take their snapshot."""
        callers = [
            Caller(key_id=f"key-{number}", user_id=f"user-{number}", context=ask.context, override=ask.override)
            for number, ask in enumerate(asks)
        ]
        now = time.time()
        async with self._database.write() as tx:
            for table in (KEYS, MEMBERSHIPS, USERS):
                await tx.execute(delete(table))
            columns = ("parent", "access_level", "admin_level", "permissions", "shared_permissions")
            setting = update(GROUPS).where(GROUPS.c.id == bindparam("group"))
            await tx.execute(setting.values({name: bindparam(f"new_{name}") for name in columns}), _states(world))
            await tx.execute(USERS.insert(), [_user(caller, ask) for caller, ask in zip(callers, asks, strict=True)])
            memberships = [
                {"user_id": caller.user_id, "group_id": group, "role": role, "created_at": 0}
                for caller, ask in zip(callers, asks, strict=True)
                for group, role in ask.roles.items()
            ]
            await tx.execute(MEMBERSHIPS.insert(), memberships)
            keys = [_key(caller, ask, now) for caller, ask in zip(callers, asks, strict=True)]
            await tx.execute(KEYS.insert(), keys)
        async with self._database.read() as tx:
            return await snapshots.take(tx, callers, now=now)

    async def passing(self, condition: Condition) -> set[Ref]:
        found = set[Ref]()
        async with self._database.read() as tx:
            for row in await tx.execute(
                select(DOCUMENTS.c.owner_group, DOCUMENTS.c.id).where(where(condition, Document))
            ):
                found.add(("document", row.owner_group, row.id))
            for row in await tx.execute(select(PRODUCTS.c.owner_group, PRODUCTS.c.id).where(where(condition, Product))):
                found.add(("product", row.owner_group, row.id))
        return found


class Lance:
    """The vector store itself: its tables, its indexes, and the searches that answer callers."""

    name = "lancedb"

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    @classmethod
    async def create(cls, folder: Path) -> "Lance":
        return cls(await Vectors.open(str(folder), dimensions=len(_VECTOR)))

    async def add(self, things: Sequence[Thing]) -> None:
        products = [
            ProductEntry(thing.id, 1, access_of(thing), _WORD, _VECTOR, 1.0, [])
            for thing in things
            if thing.kind == "product"
        ]
        passages = [
            PassageEntry(thing.id, 1, access_of(thing), 0, 1, _WORD, _VECTOR)
            for thing in things
            if thing.kind == "document"
        ]
        await self._vectors.upsert_products(products)
        await self._vectors.upsert_document(passages)

    async def remove(self, things: Sequence[Thing]) -> None:
        for (kind, owner), own in grouped(things).items():
            ids = [thing.id for thing in own]
            if kind == "product":
                await self._vectors.delete_products(VectorRef(owner, id) for id in ids)
            else:
                await self._vectors.delete_documents(owner, ids)

    async def tidy(self) -> None:
        """Merge what was written lately into the indexes, as the worker does from time to time."""
        await self._vectors.optimize("products")
        await self._vectors.optimize("passages")

    async def passing(self, condition: Condition) -> set[Ref]:
        """What is found by words and by meaning, which must be the same: every object has the word."""
        hits, passages = await asyncio.gather(
            self._vectors.search_products(condition, ProductFilters(), [], _WORD, _VECTOR, depth=10_000),
            self._vectors.search_passages(condition, _WORD, _VECTOR, depth=10_000),
        )
        one_sided = [hit.ref for hit in (*hits, *passages) if not hit.by_words or hit.similarity is None]
        assert not one_sided, f"found by one of words and meaning only: {one_sided[:5]}"
        found = set[Ref]()
        found.update(("product", hit.ref.owner_group, hit.ref.id) for hit in hits)
        found.update(("document", passage.ref.owner_group, passage.ref.id) for passage in passages)
        return found


def _states(world: dict[str, Group]) -> list[dict[str, Any]]:
    return [
        {
            "group": group,
            "new_parent": state.parent,
            "new_access_level": state.access_level,
            "new_admin_level": state.admin_level,
            "new_permissions": list(state.permissions),
            "new_shared_permissions": list(state.shared),
        }
        for group, state in world.items()
    ]


def _user(caller: Caller, ask: Ask) -> dict[str, Any]:
    return {
        "id": caller.user_id,
        "name": "",
        "primary_group": min(ask.roles),
        "created_at": 0,
        "disabled_at": _LONG_AGO if ask.ended == "disabled" else None,
    }


def _key(caller: Caller, ask: Ask, now: float) -> dict[str, Any]:
    return {
        "id": caller.key_id,
        "digest": b"",
        "user_id": caller.user_id,
        "name": "",
        "groups": sorted(ask.bound),
        "scopes": list(ask.scopes),
        "created_at": 0,
        "expires_at": now if ask.ended == "expired" else now + 1,
        "revoked_at": _LONG_AGO if ask.ended == "revoked" else None,
    }
