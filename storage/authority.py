"""Who may administer what: read in the transaction of the change itself, so that a right lost a moment ago is gone.

A group is administered through a direct membership in force of admin level 2 or more that brings the permission, in it
or in a group above it; level 3 reaches every group. Nobody confers what he lacks.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.calls import Caller
from domain.errors import CohortError, ErrorCode, not_found
from domain.ids import GROUP_ID
from domain.policy import Level, Principal, covers, narrowed
from storage import hierarchy, snapshots
from storage.hierarchy import ADMIN, PLATFORM, GroupState, Hierarchy
from storage.tables import MEMBERSHIPS

GROUPS_ADMIN, KEYS_ADMIN = "groups:admin", "keys:admin"
_LOCK = 0x436F686F7274
"""Any number that is ours alone."""


@dataclass(frozen=True)
class Conferred:
    """What a change would give to somebody."""

    access_level: Level | None = None
    admin_level: int = 0
    permissions: Collection[str] = ()


@dataclass(frozen=True)
class Authority:
    """One caller as a transaction sees him. `levels` are his admin levels by direct group in force."""

    principal: Principal
    world: Hierarchy
    levels: Mapping[str, int]

    def through(self, permission: str, group: str | None) -> list[str]:
        """The direct groups through which he has `permission` over `group`; over every group where that is None."""
        above = self.world.closure([group]) if group is not None else set[str]()
        if group is not None and not above:
            return []  # there is no such group, not even for whoever administers all of them
        return [
            held
            for held, level in self.levels.items()
            if level >= ADMIN and (level >= PLATFORM or held in above) and self.principal.may_in(held, permission)
        ]

    def may(self, permission: str, group: str) -> bool:
        """Whether he administers `group` in this respect."""
        return bool(self.through(permission, group))

    def may_everywhere(self, permission: str) -> bool:
        """Whether he administers every group in this respect."""
        return any(self.levels[held] >= PLATFORM for held in self.through(permission, None))

    def level_over(self, permission: str, group: str | None) -> int:
        """The highest admin level with which he administers `group`; 0 where he does not."""
        return max((self.levels[held] for held in self.through(permission, group)), default=0)

    def group(self, permission: str, group: str) -> GroupState:
        """A group that he administers.

        Raises:
            CohortError: `not_found`, alike for a group that does not exist and for one that is not his.
        """
        if not self.may(permission, group):
            raise not_found("group")
        return self.world.groups[group]

    def membership(self, group: str, role: int | None, scopes: Collection[str] = ()) -> Conferred:
        """What direct membership of `group` gives, or a key with these scopes that is bound to it."""
        state = self.world.groups[group]
        brought = narrowed((grant.permission for grant in self.world.grants(group)), scopes)
        return Conferred(state.access_level, state.level_of(role), brought)

    def check(self, permission: str, given: Conferred, over: str | None) -> None:
        """Refuse to confer what he lacks himself; `over` is the group in which he would.

        Raises:
            CohortError: `forbidden`, with what he lacks.
        """
        mine, own = self.principal.clearance, self.principal.permissions()
        lacking: list[str] = []
        if given.access_level is not None and given.access_level.rank > mine.rank:
            lacking.append(f"access level {given.access_level.value} (yours is {mine.value})")
        if given.admin_level > (level := self.level_over(permission, over)):
            lacking.append(f"admin level {given.admin_level} (yours here is {level})")
        missing = [one for one in given.permissions if not any(covers(pattern, one) for pattern in own)]
        if missing:
            lacking.append(f"the permission{'s' if len(missing) > 1 else ''} {', '.join(sorted(missing))}")
        if lacking:
            raise lacks(lacking)


async def serialise(tx: AsyncConnection) -> None:
    """Let administrative changes take turns until this transaction ends.

    Two that are fine one after the other need not be so together: two moves could close a cycle. SQLite has one writer.
    """
    if tx.dialect.name == "postgresql":
        await tx.execute(select(func.pg_advisory_xact_lock(_LOCK)))


async def read(tx: AsyncConnection, caller: Caller, concerned: Iterable[str]) -> Authority:
    """The caller's authority, with every group of `concerned` that exists and all above it.

    Raises:
        CohortError: `unauthenticated` or `forbidden`: he has lost his key or his group since he was admitted.
    """
    [principal] = await snapshots.take(tx, [caller])
    if isinstance(principal, CohortError):
        raise principal
    mine = select(MEMBERSHIPS.c.group_id, MEMBERSHIPS.c.role).where(MEMBERSHIPS.c.user_id == principal.user_id)
    roles: dict[str, int | None] = {row.group_id: row.role for row in await tx.execute(mine)}
    named = {group for group in concerned if GROUP_ID.fullmatch(group)}
    world = await hierarchy.load(tx, above={*principal.direct, *named})
    levels = {group: world.groups[group].level_of(roles[group]) for group in principal.direct if group in roles}
    if principal.override is not None:
        # Whoever acts as a group that he administers has its permissions, and administers it and what is below.
        levels = dict.fromkeys(principal.direct, ADMIN)
    return Authority(principal, world, levels)


def lacks(what: Iterable[str]) -> CohortError:
    """The refusal to give away what one does not have."""
    return CohortError(
        ErrorCode.FORBIDDEN,
        f"Nobody can give what he does not have himself, and nothing was changed. This would give {'; '.join(what)}. "
        "Ask for less, or ask an administrator above you.",
    )
