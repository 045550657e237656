"""Groups as a snapshot read them, and walks through their hierarchy that end even where it has a cycle."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, bindparam, literal, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.policy import Grant, Level
from storage import epochs
from storage.tables import EPOCHS, GROUPS

ADMIN, PLATFORM = 2, 3


@dataclass(frozen=True)
class GroupState:
    """One group of the snapshot."""

    id: str
    name: str
    parent: str | None
    admin_level: int
    access_level: Level
    permissions: tuple[str, ...]
    shared_permissions: tuple[str, ...]
    epoch: int

    def level_of(self, role: int | None) -> int:
        """The admin level that a membership with this role gives."""
        return self.admin_level if role is None else min(role, self.admin_level)


@dataclass(frozen=True)
class Hierarchy:
    """The groups above some roots and below some others, with the epochs that every caller carries."""

    groups: Mapping[str, GroupState]
    children: Mapping[str, tuple[str, ...]]
    global_epochs: Mapping[str, int]

    def closure(self, roots: Iterable[str]) -> set[str]:
        """The roots and all their ancestors."""
        found: set[str] = set()
        for root in roots:
            here: str | None = root
            while here is not None and here in self.groups and here not in found:
                found.add(here)
                here = self.groups[here].parent
        return found

    def below(self, roots: Iterable[str]) -> set[str]:
        """The roots and all their descendants."""
        found: set[str] = set()
        due = [root for root in roots if root in self.groups]
        while due:
            here = due.pop()
            if here not in found:
                found.add(here)
                due.extend(self.children.get(here, ()))
        return found

    def grants(self, group: str) -> list[Grant]:
        """What direct membership of `group` brings: its own permissions, and what its ancestors share."""
        own = [Grant(permission=p, group=group, source=group, kind="direct") for p in self.groups[group].permissions]
        return own + self.shared(self.closure([group]), group)

    def shared(self, sources: Iterable[str], group: str) -> list[Grant]:
        """What `sources` share, as it reaches the members of `group`."""
        return [
            Grant(permission=permission, group=group, source=source, kind="shared")
            for source in sorted(sources)
            for permission in self.groups[source].shared_permissions
        ]


async def load(tx: AsyncConnection, above: Iterable[str], below: Iterable[str] = ()) -> Hierarchy:
    """Read `above` with their ancestors, and `below` with their descendants where these are administered.

    One round trip. `UNION` (not `UNION ALL`) ends the recursion where the hierarchy has a cycle.
    """
    rows = (await tx.execute(_LOAD, {"above": sorted(set(above)), "below": sorted(set(below))})).all()
    groups = {row.id: _state(row) for row in rows}
    children: defaultdict[str, list[str]] = defaultdict(list)
    for group in groups.values():
        if group.parent is not None:
            children[group.parent].append(group.id)
    first = rows[0] if rows else None
    return Hierarchy(
        groups=groups,
        children={parent: tuple(sorted(ids)) for parent, ids in children.items()},
        global_epochs={scope: int(getattr(first, _label(scope), None) or 0) for scope in epochs.GLOBAL},
    )


def _statement() -> Select[Any]:
    above, below = bindparam("above", expanding=True), bindparam("below", expanding=True)
    upward = select(GROUPS.c.id, GROUPS.c.parent).where(GROUPS.c.id.in_(above)).cte("upward", recursive=True)
    upward = upward.union(select(GROUPS.c.id, GROUPS.c.parent).where(GROUPS.c.id == upward.c.parent))
    administered = GROUPS.c.id.in_(below) & (GROUPS.c.admin_level >= ADMIN)
    downward = select(GROUPS.c.id).where(administered).cte("downward", recursive=True)
    downward = downward.union(select(GROUPS.c.id).where(GROUPS.c.parent == downward.c.id))
    wanted = union(select(upward.c.id), select(downward.c.id)).subquery("wanted")
    return (
        select(
            GROUPS.c.id,
            GROUPS.c.name,
            GROUPS.c.parent,
            GROUPS.c.admin_level,
            GROUPS.c.access_level,
            GROUPS.c.permissions,
            GROUPS.c.shared_permissions,
            EPOCHS.c.value.label("epoch"),
            *(
                select(EPOCHS.c.value).where(EPOCHS.c.scope == scope).scalar_subquery().label(_label(scope))
                for scope in epochs.GLOBAL
            ),
        )
        .join(wanted, wanted.c.id == GROUPS.c.id)
        .outerjoin(EPOCHS, EPOCHS.c.scope == literal(epochs.of_group("")) + GROUPS.c.id)
    )


def _label(scope: str) -> str:
    return f"epoch_{scope.replace(':', '_')}"


def _state(row: Row[Any]) -> GroupState:
    return GroupState(
        id=row.id,
        name=row.name,
        parent=row.parent,
        admin_level=row.admin_level,
        access_level=Level(row.access_level),
        permissions=tuple(row.permissions),
        shared_permissions=tuple(row.shared_permissions),
        epoch=row.epoch or 0,
    )


_LOAD = _statement()
"""Made once: building it takes longer than running it."""
