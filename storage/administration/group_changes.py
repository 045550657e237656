"""Groups: create, change, move."""

from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.administration import GroupCreateInput, GroupOutput, GroupUpdateInput
from domain.calls import Caller
from domain.errors import invalid
from domain.policy import Level
from storage import authority as authorities
from storage import epochs, groups
from storage.administration import limits
from storage.administration.change import Change, administered, iso
from storage.authority import GROUPS_ADMIN, Authority, Conferred
from storage.ledger import MICROS
from storage.tables import GROUPS

_COLUMNS = {
    "parent": "parent",
    "requestsPerMinute": "requests_per_minute",
    "tokensPerMinute": "tokens_per_minute",
    "parallel": "parallel",
    "monthlyBudget": "monthly_budget_micros",
}
_CONFERRING = ("access_level", "admin_level", "permissions", "shared_permissions")


async def create(tx: AsyncConnection, caller: Caller, asked: GroupCreateInput) -> Change:
    """Add a group below one that the caller administers; a group below none takes a platform administrator.

    Raises:
        CohortError: `invalid_argument`, `forbidden`, or `conflict` where the id is taken; nothing was changed.
    """
    authority = await authorities.read(tx, caller, [asked.parent] if asked.parent is not None else [])
    _check_parent(authority, asked.parent)
    given = {*asked.permissions, *asked.shared_permissions}
    authority.check(GROUPS_ADMIN, Conferred(asked.access_level, asked.admin_level, given), asked.parent)
    columns = _columns(asked.model_dump(exclude={"id", "name", "parent", "access_level", "admin_level"}))
    await limits.check(tx, authority, asked.parent, {name: value for name, value in columns.items() if value})
    await groups.create_group(
        tx,
        asked.id,
        name=asked.name,
        parent=asked.parent,
        access_level=asked.access_level,
        admin_level=asked.admin_level,
        **columns,
        by=None,
    )
    return await _change(tx, asked.id, "groups.created", "")


async def change(tx: AsyncConnection, caller: Caller, asked: GroupUpdateInput) -> Change:
    """Change a group, or move it: that takes both ends.

    Raises:
        CohortError: `not_found`, `invalid_argument` or `forbidden`; nothing was changed.
    """
    authority = await authorities.read(tx, caller, [one for one in (asked.id, asked.parent) if one is not None])
    before = (await tx.execute(select(GROUPS).where(GROUPS.c.id == asked.id))).one_or_none()
    authority.group(GROUPS_ADMIN, asked.id)
    assert before is not None
    wanted = _wanted(asked)
    changes = {name: value for name, value in wanted.items() if getattr(before, name) != value}
    if "parent" in changes:
        _check_move(authority, before, changes["parent"])
    await _check_conferred(tx, authority, before, changes)
    if changes:
        await tx.execute(update(GROUPS).where(GROUPS.c.id == asked.id).values(changes))
        # Members of groups below carry this group's epoch too: it is among their ancestors, before a move and after.
        await epochs.bump(tx, [epochs.POLICY, epochs.of_group(asked.id)])
    return await _change(tx, asked.id, "groups.updated", ", ".join(sorted(changes)) or "nothing changed")


def _wanted(asked: GroupUpdateInput) -> dict[str, Any]:
    """The columns that the caller names.

    Raises:
        CohortError: `invalid_argument`.
    """
    named = {name: value for name, value in asked.model_dump(exclude={"id", "clear"}).items() if value is not None}
    wanted = _columns(named)
    cleared = {_COLUMNS[field]: None for field in asked.clear}
    if twice := wanted.keys() & cleared.keys():
        raise invalid(("clear", f"names what is given a value too: {', '.join(sorted(twice))}"))
    if not wanted and not cleared:
        raise invalid(("data", "names nothing to change: give at least one field besides the id"))
    return wanted | cleared


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as the table has them: money in micro-dollars, levels by name."""
    columns = dict(fields)
    if "monthly_budget" in columns:
        budget = columns.pop("monthly_budget")
        columns["monthly_budget_micros"] = None if budget is None else round(budget * MICROS)
    if isinstance(level := columns.get("access_level"), Level):
        columns["access_level"] = level.value
    return columns


def _check_parent(authority: Authority, parent: str | None) -> None:
    if parent is None and not authority.may_everywhere(GROUPS_ADMIN):
        raise invalid(("parent", "is required: a group below no other takes a platform administrator"))
    if parent is not None and not authority.may(GROUPS_ADMIN, parent):
        raise invalid(("parent", "there is no such group, or you do not administer it"))


def _check_move(authority: Authority, before: Row[Any], parent: str | None) -> None:
    """Both ends of a move are the mover's, and it closes no cycle."""
    _check_parent(authority, parent)
    if before.parent is not None and not authority.may(GROUPS_ADMIN, before.parent):
        raise invalid(("parent", "you do not administer the group above: its administrators may move this one"))
    if parent is not None and before.id in authority.world.closure([parent]):
        raise invalid(("parent", "is the group itself or a group below it"))


async def _check_conferred(
    tx: AsyncConnection, authority: Authority, before: Row[Any], changes: dict[str, Any]
) -> None:
    """What the group's members, and those of groups below it, would gain. What they had already is not asked for."""
    added = {
        permission
        for column in ("permissions", "shared_permissions")
        for permission in set(changes.get(column, ())) - set(getattr(before, column))
    }
    if changes.get("parent") is not None:
        gained = authority.world.closure([changes["parent"]]) - authority.world.closure([before.id])
        added |= {grant.permission for grant in authority.world.shared(gained, before.id)}
    given = Conferred(
        access_level=Level(changes["access_level"]) if "access_level" in changes else None,
        admin_level=changes.get("admin_level", 0),
        permissions=added,
    )
    authority.check(GROUPS_ADMIN, given, before.id)
    await limits.check(tx, authority, before.id, changes, itself=before.id)


async def _change(tx: AsyncConnection, group_id: str, event: str, reason: str) -> Change:
    output = await read(tx, group_id)
    facts = {"type": event, "parent": output.parent}
    return Change(output, f"group:{group_id}", reason, facts, administered(group_id))


async def read(tx: AsyncConnection, group_id: str) -> GroupOutput:
    """A group as it is."""
    row = (await tx.execute(select(GROUPS).where(GROUPS.c.id == group_id))).one()
    budget = row.monthly_budget_micros
    return GroupOutput(
        id=row.id,
        name=row.name,
        parent=row.parent,
        access_level=Level(row.access_level),
        admin_level=row.admin_level,
        permissions=row.permissions,
        shared_permissions=row.shared_permissions,
        weight=row.weight,
        requests_per_minute=row.requests_per_minute,
        tokens_per_minute=row.tokens_per_minute,
        parallel=row.parallel,
        monthly_budget=None if budget is None else budget / MICROS,
        providers=row.providers,
        models=row.models,
        artifact_prefixes=row.artifact_prefixes,
        created_at=iso(row.created_at),
    )
