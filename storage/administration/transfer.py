"""Everything that a group owns and holds, to another group: objects, child groups and members."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, case, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import CohortError, ErrorCode
from domain.policy import Level
from storage import epochs
from storage.hierarchy import GroupState
from storage.policy_sql import TABLES, ObjectKind
from storage.tables import GROUPS, MEMBERSHIPS, OBJECT_GROUPS, PRODUCT_ATTRIBUTES, TOMBSTONES, USERS


async def held(tx: AsyncConnection, group: str) -> dict[str, int]:
    """What stands in the way of deleting a group, by kind, without those of which there is none."""
    counts: dict[str, int] = {}
    for kind, table in TABLES.items():
        owned = select(func.count()).select_from(table).where(table.c.owner_group == group)
        counts[f"{kind}s"] = await tx.scalar(owned) or 0
    children = select(func.count()).select_from(GROUPS).where(GROUPS.c.parent == group)
    counts["children"] = await tx.scalar(children) or 0
    # A user without any group is held by the one that he was in last.
    members = select(MEMBERSHIPS.c.user_id).where(MEMBERSHIPS.c.group_id == group)
    homes = select(USERS.c.id).where(USERS.c.primary_group == group)
    both = members.union(homes).subquery()
    counts["members"] = await tx.scalar(select(func.count()).select_from(both)) or 0
    return {kind: count for kind, count in counts.items() if count}


async def objects(tx: AsyncConnection, group: str, to: str) -> None:
    """Give what `group` owns to another. Each object gets a version above any that its id had in either.

    Raises:
        CohortError: `conflict`: both own objects of the same id; nothing was changed.
    """
    clashing: dict[str, int] = {}
    for kind, table in TABLES.items():
        theirs = select(table.c.id).where(table.c.owner_group == to)
        same = select(func.count()).select_from(table).where(table.c.owner_group == group, table.c.id.in_(theirs))
        clashing[f"{kind}s"] = await tx.scalar(same) or 0
    if any(clashing.values()):
        said = ", ".join(f"{count} {kind}" for kind, count in clashing.items() if count)
        raise CohortError(
            ErrorCode.CONFLICT,
            f"Both groups own objects of the same id ({said}), and nothing was changed. Delete one of each, or choose "
            "another group.",
            details={kind: count for kind, count in clashing.items() if count},
        )
    for kind in TABLES:
        await _kind(tx, kind, group, to)


async def _kind(tx: AsyncConnection, kind: ObjectKind, group: str, to: str) -> None:
    table, named, buried = TABLES[kind], OBJECT_GROUPS.c, TOMBSTONES.c
    listed = and_(named.object_kind == kind, named.owner_group == group)
    scopes = {epochs.of_group(one) for one in (await tx.execute(select(named.group_id).where(listed))).scalars()}
    public = select(table.c.id).where(table.c.owner_group == group, table.c.access_level == Level.PUBLIC.value)
    if (await tx.execute(public.limit(1))).first() is not None:
        scopes.add(epochs.PUBLIC)
    await epochs.bump(tx, {*scopes, epochs.of_group(group), epochs.of_group(to)})
    before = select(buried.version).where(
        buried.object_kind == kind, buried.owner_group == to, buried.object_id == table.c.id
    )
    last = func.coalesce(before.scalar_subquery(), 0)
    version = case((table.c.version > last, table.c.version), else_=last) + 1
    columns: Mapping[str, Any] = {
        column.name: column for column in table.c if column.name not in ("owner_group", "version")
    }
    moved = select(literal(to), version, *columns.values()).where(table.c.owner_group == group)
    # A copy first: attributes point to their product, and no engine lets both move at once.
    await tx.execute(insert(table).from_select(["owner_group", "version", *columns], moved))
    if kind == "product":
        of_group = PRODUCT_ATTRIBUTES.c.owner_group == group
        await tx.execute(update(PRODUCT_ATTRIBUTES).where(of_group).values(owner_group=to))
    await tx.execute(update(OBJECT_GROUPS).where(listed).values(owner_group=to))
    await tx.execute(delete(table).where(table.c.owner_group == group))


async def people(tx: AsyncConnection, group: GroupState, to: GroupState) -> list[str]:
    """Make the members of one group members of another, with no more admin level than they had."""
    mine = MEMBERSHIPS.c.group_id == group.id
    there = set((await tx.execute(select(MEMBERSHIPS.c.user_id).where(MEMBERSHIPS.c.group_id == to.id))).scalars())
    rows = (await tx.execute(select(MEMBERSHIPS).where(mine).order_by(MEMBERSHIPS.c.user_id))).all()
    joining = [
        {
            "user_id": row.user_id,
            "group_id": to.id,
            "role": None if (level := group.level_of(row.role)) >= to.admin_level else level,
            "created_at": row.created_at,
        }
        for row in rows
        if row.user_id not in there
    ]
    if joining:
        await tx.execute(MEMBERSHIPS.insert(), joining)
    await tx.execute(delete(MEMBERSHIPS).where(mine))
    await tx.execute(update(USERS).where(USERS.c.primary_group == group.id).values(primary_group=to.id))
    await epochs.bump(tx, [epochs.of_group(group.id), epochs.of_group(to.id)])
    return [row.user_id for row in rows]


async def children(tx: AsyncConnection, group: str, to: str) -> list[str]:
    """Put the groups below one below another."""
    below = GROUPS.c.parent == group
    found = list((await tx.execute(select(GROUPS.c.id).where(below).order_by(GROUPS.c.id))).scalars())
    await tx.execute(update(GROUPS).where(below).values(parent=to))
    await epochs.bump(tx, [epochs.POLICY, *map(epochs.of_group, found)])
    return found
