"""Documents in SQL: the authority on every document, its access and its version."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.policy import Level, ObjectAccess, Principal, visibility
from storage import objects
from storage.objects import Draft, Ref, Upserted
from storage.policy_sql import where
from storage.tables import DOCUMENTS, Document
from storage.texts import storable


@dataclass(frozen=True)
class NewDocument:
    """A document to be stored. `source` is where a reader finds it."""

    id: str
    title: str
    source: str
    text: str
    access_level: Level
    allowed_groups: frozenset[str] = frozenset()
    restricted_groups: frozenset[str] = frozenset()
    sensitive: bool = False

    def access(self, owner: str) -> ObjectAccess:
        """Who may see it as a document of `owner`."""
        return ObjectAccess(
            owner_group=owner,
            access_level=self.access_level,
            allowed_groups=self.allowed_groups,
            restricted_groups=self.restricted_groups,
            sensitive=self.sensitive,
        )


@dataclass(frozen=True)
class DocumentHead:
    """A document without its text."""

    owner_group: str
    id: str
    version: int
    title: str
    source: str
    access_level: Level


async def upsert(tx: AsyncConnection, owner: str, rows: Sequence[NewDocument]) -> Upserted:
    """Create or change documents of one owner group.

    Raises:
        CohortError: `invalid_argument`: there is no such group.
        ValueError: two documents have the same id.
    """
    drafts = [
        Draft(
            id=row.id,
            access=row.access(owner),
            columns={"title": storable(row.title), "source": storable(row.source), "text": storable(row.text)},
        )
        for row in rows
    ]
    return await objects.store(tx, "document", owner, drafts)


async def delete(tx: AsyncConnection, owner: str, ids: Collection[str]) -> list[str]:
    """Delete documents of one owner group; the ids of those that were there."""
    return await objects.remove(tx, "document", owner, ids)


async def ids_of(tx: AsyncConnection, owner: str) -> set[str]:
    """The ids of every document of an owner group."""
    return await objects.ids_of(tx, "document", owner)


async def recheck(tx: AsyncConnection, principal: Principal, refs: Iterable[Ref]) -> list[DocumentHead]:
    """Those of `refs` that exist and that the caller may see now, in the order of `refs`."""
    wanted = list(dict.fromkeys(refs))
    c = DOCUMENTS.c
    statement = select(c.owner_group, c.id, c.version, c.title, c.source, c.access_level).where(
        tuple_(c.owner_group, c.id).in_(wanted), where(visibility(principal), Document)
    )
    found = {
        (row.owner_group, row.id): DocumentHead(
            row.owner_group, row.id, row.version, row.title, row.source, Level(row.access_level)
        )
        for row in await tx.execute(statement)
    }
    return [found[ref] for ref in wanted if ref in found]
