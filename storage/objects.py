"""What documents and products have in common: access fields, versions, digests, and the epochs that changes raise."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.canonical import digest
from domain.errors import invalid
from domain.policy import Level, ObjectAccess, Principal, visible
from storage import epochs
from storage.policy_sql import TABLES, ObjectKind
from storage.tables import GROUPS, OBJECT_GROUPS, TOMBSTONES
from storage.upserts import insert

Ref = tuple[str, str]
"""An object: its owner group and its id there."""
Change = Literal["created", "changed", "unchanged"]


@dataclass(frozen=True)
class Draft:
    """An object to be stored: its id, who may see it, and its other columns."""

    id: str
    access: ObjectAccess
    columns: Mapping[str, Any]

    def digest(self) -> str:
        """Differs whenever content or access differ."""
        return digest(
            {
                "columns": dict(self.columns),
                "level": self.access.access_level.value,
                "allowed": self.access.allowed_groups,
                "restricted": self.access.restricted_groups,
                "sensitive": self.access.sensitive,
            }
        )


@dataclass(frozen=True)
class Stored:
    """An object as it now is, and what storing it did."""

    id: str
    version: int
    access: ObjectAccess
    change: Change


@dataclass(frozen=True)
class Upserted:
    """What became of each row, in their order."""

    rows: tuple[Stored, ...]

    @property
    def accepted(self) -> int:
        """How many were created or changed."""
        return len(self.rows) - self.unchanged

    @property
    def unchanged(self) -> int:
        """How many were there already, just so."""
        return sum(row.change == "unchanged" for row in self.rows)

    @property
    def versions(self) -> dict[str, int]:
        """The version of each row by id."""
        return {row.id: row.version for row in self.rows}


@dataclass(frozen=True)
class _Known:
    version: int
    digest: str
    level: str


async def store(tx: AsyncConnection, kind: ObjectKind, owner: str, drafts: Sequence[Draft]) -> Upserted:
    """Create or change objects of one owner group. Unchanged ones, told by their digest, write nothing.

    Raises:
        CohortError: `invalid_argument`: there is no such group.
        ValueError: two drafts have the same id, or another owner.
    """
    ids = [draft.id for draft in drafts]
    if len(set(ids)) != len(ids) or any(draft.access.owner_group != owner for draft in drafts):
        raise ValueError("the drafts of one call must have different ids and one owner")
    await lock(tx, owner)
    known = await _known(tx, kind, owner, ids)
    last = {**await buried(tx, kind, owner, ids), **{object_id: row.version for object_id, row in known.items()}}
    rows: list[Stored] = []
    for draft in drafts:
        before = known.get(draft.id)
        if before is not None and before.digest == draft.digest():
            rows.append(Stored(draft.id, before.version, draft.access, "unchanged"))
        else:
            change: Change = "created" if before is None else "changed"
            rows.append(Stored(draft.id, last.get(draft.id, 0) + 1, draft.access, change))
    moved = [(draft, row) for draft, row in zip(drafts, rows, strict=True) if row.change != "unchanged"]
    if moved:
        before_levels = [known[row.id].level for _, row in moved if row.id in known]
        await raise_epochs(tx, kind, owner, [row.id for _, row in moved], before_levels, [r.access for _, r in moved])
        await _write(tx, kind, owner, moved)
    return Upserted(tuple(rows))


async def remove(tx: AsyncConnection, kind: ObjectKind, owner: str, ids: Collection[str]) -> list[str]:
    """Delete objects of one owner group; the ids of those that were there."""
    await lock(tx, owner)
    known = await _known(tx, kind, owner, ids)
    if not known:
        return []
    gone = sorted(known)
    await raise_epochs(tx, kind, owner, gone, [row.level for row in known.values()], [])
    await tx.execute(delete(OBJECT_GROUPS).where(groups_of(kind, owner, gone)))
    table = TABLES[kind]
    await tx.execute(delete(table).where(table.c.owner_group == owner, table.c.id.in_(gone)))
    statement = insert(tx, TOMBSTONES)
    await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["object_kind", "owner_group", "object_id"], set_={"version": statement.excluded.version}
        ),
        [
            {"object_kind": kind, "owner_group": owner, "object_id": object_id, "version": known[object_id].version}
            for object_id in gone
        ],
    )
    return gone


async def ids_of(tx: AsyncConnection, kind: ObjectKind, owner: str) -> set[str]:
    """The ids of every object of an owner group."""
    table = TABLES[kind]
    return set((await tx.execute(select(table.c.id).where(table.c.owner_group == owner))).scalars())


async def hidden(
    tx: AsyncConnection, kind: ObjectKind, owner: str, principal: Principal, ids: Collection[str]
) -> set[str]:
    """Those of `ids` that are there and that this caller may not see; other writers wait, so that it stays so.

    Raises:
        CohortError: `invalid_argument`: there is no such group.
    """
    if not ids:
        return set()
    await lock(tx, owner)
    found = await access_of(tx, kind, [(owner, object_id) for object_id in ids])
    return {object_id for (_, object_id), (_, access) in found.items() if not visible(principal, access)}


async def access_of(tx: AsyncConnection, kind: ObjectKind, refs: Iterable[Ref]) -> dict[Ref, tuple[int, ObjectAccess]]:
    """Version and access of each of `refs` that exists, in one round trip."""
    table = TABLES[kind]
    joined = table.outerjoin(
        OBJECT_GROUPS,
        and_(
            OBJECT_GROUPS.c.object_kind == kind,
            OBJECT_GROUPS.c.owner_group == table.c.owner_group,
            OBJECT_GROUPS.c.object_id == table.c.id,
        ),
    )
    c, groups = table.c, OBJECT_GROUPS.c
    statement = (
        select(c.owner_group, c.id, c.version, c.access_level, c.sensitive, groups.effect, groups.group_id)
        .select_from(joined)
        .where(tuple_(c.owner_group, c.id).in_(sorted(set(refs))))
    )
    heads: dict[Ref, tuple[int, Level, bool]] = {}
    lists: dict[tuple[Ref, str], set[str]] = {}
    for row in await tx.execute(statement):
        ref = (row.owner_group, row.id)
        heads[ref] = (row.version, Level(row.access_level), row.sensitive)
        if row.effect is not None:
            lists.setdefault((ref, row.effect), set()).add(row.group_id)
    return {
        ref: (
            version,
            ObjectAccess(
                owner_group=ref[0],
                access_level=level,
                allowed_groups=frozenset(lists.get((ref, "allowed"), ())),
                restricted_groups=frozenset(lists.get((ref, "restricted"), ())),
                sensitive=sensitive,
            ),
        )
        for ref, (version, level, sensitive) in heads.items()
    }


async def lock(tx: AsyncConnection, owner: str) -> None:
    """Take turns with other writers of this owner's objects, so that every change has a version of its own."""
    statement = select(GROUPS.c.id).where(GROUPS.c.id == owner).with_for_update(key_share=True)
    if (await tx.execute(statement)).first() is None:
        raise invalid(("group", "there is no such group"))


async def _known(tx: AsyncConnection, kind: ObjectKind, owner: str, ids: Collection[str]) -> dict[str, _Known]:
    c = TABLES[kind].c
    statement = select(c.id, c.version, c.digest, c.access_level).where(c.owner_group == owner, c.id.in_(sorted(ids)))
    return {row.id: _Known(row.version, row.digest, row.access_level) for row in await tx.execute(statement)}


async def buried(tx: AsyncConnection, kind: ObjectKind, owner: str, ids: Collection[str]) -> dict[str, int]:
    """The last versions of deleted objects."""
    c = TOMBSTONES.c
    statement = select(c.object_id, c.version).where(
        c.object_kind == kind, c.owner_group == owner, c.object_id.in_(sorted(ids))
    )
    return {row.object_id: row.version for row in await tx.execute(statement)}


async def raise_epochs(
    tx: AsyncConnection,
    kind: ObjectKind,
    owner: str,
    ids: Collection[str],
    levels_before: Iterable[str],
    access_after: Iterable[ObjectAccess],
) -> None:
    """Raise the epochs of all who could see one of these objects before, or can after.

    A level has an epoch for those who empty the caches of all its readers; a change of one group's objects does not
    raise it, since strangers would feel that in their own cache.
    """
    named = await tx.execute(select(OBJECT_GROUPS.c.group_id).where(groups_of(kind, owner, ids)).distinct())
    groups, levels = {owner, *named.scalars()}, set(levels_before)
    for access in access_after:
        groups |= access.allowed_groups | access.restricted_groups
        levels.add(access.access_level.value)
    scopes = {epochs.of_group(group) for group in groups}
    if Level.PUBLIC.value in levels:
        scopes.add(epochs.PUBLIC)
    await epochs.bump(tx, scopes)


async def _write(tx: AsyncConnection, kind: ObjectKind, owner: str, moved: Sequence[tuple[Draft, Stored]]) -> None:
    table, now = TABLES[kind], time.time()
    statement = insert(tx, table)
    kept = {"owner_group", "id"}
    changing = {column.name: statement.excluded[column.name] for column in table.c if column.name not in kept}
    await tx.execute(
        statement.on_conflict_do_update(index_elements=["owner_group", "id"], set_=changing),
        [
            {
                **draft.columns,
                "owner_group": owner,
                "id": row.id,
                "access_level": row.access.access_level.value,
                "sensitive": row.access.sensitive,
                "version": row.version,
                "digest": draft.digest(),
                "updated_at": now,
            }
            for draft, row in moved
        ],
    )
    await tx.execute(delete(OBJECT_GROUPS).where(groups_of(kind, owner, [row.id for _, row in moved])))
    listed = [
        {"object_kind": kind, "owner_group": owner, "object_id": row.id, "effect": effect, "group_id": group}
        for _, row in moved
        for effect, groups in (("allowed", row.access.allowed_groups), ("restricted", row.access.restricted_groups))
        for group in sorted(groups)
    ]
    if listed:
        await tx.execute(OBJECT_GROUPS.insert(), listed)


def groups_of(kind: ObjectKind, owner: str, ids: Collection[str]) -> ColumnElement[bool]:
    """The rows of `OBJECT_GROUPS` that list groups for these objects."""
    c = OBJECT_GROUPS.c
    return and_(c.object_kind == kind, c.owner_group == owner, c.object_id.in_(sorted(ids)))
