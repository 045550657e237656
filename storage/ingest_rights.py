"""What an uploader may put where: the owner group, the levels, and the groups that a row may name."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import CohortError, ErrorCode, invalid
from domain.ids import GROUP_ID
from domain.ingestion import Kind
from domain.policy import Level, Principal
from domain.products import ProductRow
from storage.document_files import DocumentRow
from storage.rows import RowError
from storage.tables import GROUPS

PUBLISH = "objects:publish"


def check_owner(principal: Principal, kind: Kind, group: str) -> None:
    """Refuse a group that the caller may not write for; the answer is the same where there is no such group.

    Raises:
        CohortError: `forbidden`.
    """
    if group not in principal.direct or not principal.may_in(group, f"{kind}:write"):
        raise CohortError(
            ErrorCode.FORBIDDEN,
            f"You cannot put {kind} into this group; nothing was taken in. That takes a direct membership in it which "
            f"brings {kind}:write: groups_list shows yours.",
        )


async def levels_of(tx: AsyncConnection, groups: Iterable[str]) -> dict[str, Level]:
    """The groups' own levels."""
    statement = select(GROUPS.c.id, GROUPS.c.access_level).where(GROUPS.c.id.in_(sorted(set(groups))))
    return {row.id: Level(row.access_level) for row in await tx.execute(statement)}


def level_for(principal: Principal, group: str, own: Level, asked: Level | None) -> Level:
    """The level of rows that name none: what was asked for, or the group's own (`own`).

    A public group's own default is internal for whoever may not publish.

    Raises:
        CohortError: `forbidden`: the level that was asked for is public or above what the caller may read himself.
    """
    publishes = principal.may_in(group, PUBLISH)
    if asked is None:
        return Level.INTERNAL if own is Level.PUBLIC and not publishes else own
    if asked is Level.PUBLIC and not publishes:
        raise CohortError(
            ErrorCode.FORBIDDEN,
            f"Making objects public takes {PUBLISH} in this group; nothing was taken in. Leave accessLevel out, or ask "
            "for internal.",
        )
    if asked.rank > ceiling(principal).rank:
        raise invalid(("accessLevel", f"must not be above your own clearance, which is {principal.clearance.value}"))
    return asked


def ceiling(principal: Principal) -> Level:
    """The highest level that this caller may give. Members of a public group own, and see, its internal objects."""
    return max(principal.clearance, Level.INTERNAL, key=lambda level: level.rank)


@dataclass(frozen=True)
class Rights:
    """What one uploader may say of rows of one group. `nameable` are the groups that he may name in them."""

    principal: Principal
    group: str
    default: Level
    nameable: frozenset[str]

    def check(self, row: ProductRow | DocumentRow) -> None:
        """Refuse a row that its uploader may not store so.

        Raises:
            RowError: the field and the reason.
        """
        level = row.access_level
        if level is Level.PUBLIC and not self.principal.may_in(self.group, PUBLISH):
            raise RowError("access_level", f"public takes the permission {PUBLISH} in this group")
        if level is not None and level.rank > ceiling(self.principal).rank:
            raise RowError(
                "access_level", f"{level.value} is above your own clearance, which is {self.principal.clearance.value}"
            )
        for field in ("allowed_groups", "restricted_groups"):
            for group in getattr(row, field) or ():
                if group not in self.nameable:
                    raise RowError(
                        field,
                        f"{group[:64]!r} is not a group that you may name: your own groups, those above them and those "
                        "that you administer",
                    )


async def nameable(tx: AsyncConnection, principal: Principal, named: Iterable[str]) -> frozenset[str]:
    """Those of `named` that this caller may name: groups that he knows of anyway.

    Whether any other group exists must not show, so foreign and missing groups are refused alike; naming a missing
    one could otherwise give access to whoever creates it later.
    """
    wanted = {group for group in named if GROUP_ID.fullmatch(group)}
    if principal.administers_all():
        statement = select(GROUPS.c.id).where(GROUPS.c.id.in_(sorted(wanted)))
        return frozenset((await tx.execute(statement)).scalars())
    return frozenset(wanted & {*principal.closure, *principal.effective, *principal.administers})
