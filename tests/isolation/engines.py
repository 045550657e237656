"""The engines that a policy is compiled for, each holding the same objects."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import lancedb
import pyarrow as pa
from sqlalchemy import delete, select, update

from domain.calls import Caller
from domain.errors import CohortError
from domain.policy import Condition, Principal
from storage import migrate, objects, snapshots
from storage.objects import Draft
from storage.policy_lance import filter_of
from storage.policy_sql import where
from storage.sql import Database
from storage.sweep import refresh_statistics
from storage.tables import DOCUMENTS, GROUPS, KEYS, MEMBERSHIPS, USERS, Document
from tests.isolation.reference import Ask, Group, Thing
from tests.isolation.worlds import access_of


class Engine(Protocol):
    """Answers which objects pass a condition."""

    async def passing(self, condition: Condition) -> set[str]: ...


class Sql:
    """SQLite or PostgreSQL: keeps the made-up groups and callers too."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database.open(url)

    async def fill(self, groups: Sequence[str], things: Sequence[Thing]) -> None:
        await migrate.upgrade(self.url)
        async with self.database.write() as tx:
            await tx.execute(
                GROUPS.insert(),
                [
                    {
                        "id": group,
                        "name": group,
                        "access_level": "public",
                        "permissions": [],
                        "shared_permissions": [],
                        "providers": [],
                        "models": [],
                        "artifact_prefixes": [],
                        "created_at": 0,
                    }
                    for group in groups
                ],
            )
        for owner in sorted({thing.owner for thing in things}):
            own = [thing for thing in things if thing.owner == owner]
            async with self.database.write() as tx:
                for start in range(0, len(own), 500):
                    drafts = [
                        Draft(thing.id, access_of(thing), {"title": "", "source": "", "text": ""})
                        for thing in own[start : start + 500]
                    ]
                    await objects.store(tx, "document", owner, drafts)
        async with self.database.write() as tx:
            await refresh_statistics(tx)

    async def take(self, world: dict[str, Group], asks: Sequence[Ask]) -> list[Principal | CohortError]:
        """Store the world and a user with a key for each ask, and take their snapshot."""
        async with self.database.write() as tx:
            for table in (KEYS, MEMBERSHIPS, USERS):
                await tx.execute(delete(table))
            for group, state in world.items():
                await tx.execute(
                    update(GROUPS)
                    .where(GROUPS.c.id == group)
                    .values(parent=state.parent, access_level=state.access_level, admin_level=state.admin_level)
                )
            for number, ask in enumerate(asks):
                user = f"user-{number}"
                primary = min(ask.roles)
                await tx.execute(USERS.insert().values(id=user, name=user, primary_group=primary, created_at=0))
                await tx.execute(
                    MEMBERSHIPS.insert(),
                    [
                        {"user_id": user, "group_id": group, "role": role, "created_at": 0}
                        for group, role in ask.roles.items()
                    ],
                )
                bound = {"groups": sorted(ask.bound), "scopes": []}
                await tx.execute(
                    KEYS.insert().values(id=user, digest=b"", user_id=user, name="", created_at=0, **bound)
                )
        callers = [
            Caller(key_id=f"user-{number}", user_id=f"user-{number}", context=ask.context, override=ask.override)
            for number, ask in enumerate(asks)
        ]
        async with self.database.read() as tx:
            return await snapshots.take(tx, callers)

    async def passing(self, condition: Condition) -> set[str]:
        async with self.database.read() as tx:
            return set((await tx.execute(select(DOCUMENTS.c.id).where(where(condition, Document)))).scalars())


class Lance:
    """LanceDB, with the columns that the vector store has."""

    def __init__(self, folder: Path, things: Sequence[Thing]) -> None:
        words = pa.list_(pa.field("item", pa.string(), nullable=False))
        kinds: dict[str, Any] = {
            "id": pa.string(),
            "owner_group": pa.string(),
            "access_level": pa.string(),
            "allowed_groups": words,
            "restricted_groups": words,
            "sensitive": pa.bool_(),
        }
        rows = [
            {
                "id": thing.id,
                "owner_group": thing.owner,
                "access_level": thing.level,
                "allowed_groups": sorted(thing.allowed),
                "restricted_groups": sorted(thing.restricted),
                "sensitive": thing.sensitive,
            }
            for thing in things
        ]
        schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])
        self._table = lancedb.connect(folder).create_table("things", pa.Table.from_pylist(rows, schema=schema))
        self._size = len(rows)

    async def passing(self, condition: Condition) -> set[str]:
        found = self._table.search().where(filter_of(condition)).select(["id"]).limit(self._size).to_arrow()
        return set(found.column("id").to_pylist())
