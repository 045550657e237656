"""Who the callers are now: one snapshot of keys, users, memberships, groups and epochs for a whole batch."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.calls import Caller
from domain.errors import CohortError
from domain.ids import GROUP_ID
from domain.policy import EVERY_GROUP, Grant, Level, Principal
from storage import epochs, hierarchy, refusals
from storage.hierarchy import ADMIN, PLATFORM, Hierarchy
from storage.tables import KEYS, MEMBERSHIPS, USERS

# Made once: building a statement takes longer than running it.
_HOLDERS = (
    select(
        KEYS.c.id,
        KEYS.c.user_id,
        KEYS.c.groups,
        KEYS.c.scopes,
        KEYS.c.expires_at,
        KEYS.c.revoked_at,
        USERS.c.disabled_at,
        USERS.c.primary_group,
        MEMBERSHIPS.c.group_id,
        MEMBERSHIPS.c.role,
    )
    .select_from(KEYS.join(USERS).outerjoin(MEMBERSHIPS, MEMBERSHIPS.c.user_id == USERS.c.id))
    .where(KEYS.c.id.in_(bindparam("key_ids", expanding=True)))
)


@dataclass(frozen=True)
class _Holder:
    """A key with its user, as SQL has them. `roles` are the user's direct memberships."""

    user_id: str
    bound: frozenset[str]
    scopes: tuple[str, ...]
    expires_at: float | None
    revoked_at: float | None
    disabled_at: float | None
    primary_group: str
    roles: dict[str, int | None]


async def take(
    tx: AsyncConnection, callers: Sequence[Caller], *, now: float | None = None
) -> list[Principal | CohortError]:
    """One principal a caller, or why there is none: `unauthenticated` or `forbidden`. Two round trips for all."""
    holders = await _holders(tx, sorted({caller.key_id for caller in callers}))
    memberships = {group for holder in holders.values() for group in holder.roles}
    overrides = {c.override for c in callers if c.override and GROUP_ID.fullmatch(c.override)}
    administering = {group for holder in holders.values() for group, role in holder.roles.items() if _may_admin(role)}
    world = await hierarchy.load(tx, above=memberships | overrides, below=administering)
    moment = time.time() if now is None else now
    taken: dict[Caller, Principal | CohortError] = {}
    for caller in callers:
        if caller not in taken:
            taken[caller] = _resolve(world, holders.get(caller.key_id), caller, moment)
    return [taken[caller] for caller in callers]


def _may_admin(role: int | None) -> bool:
    return role is None or role >= ADMIN


async def _holders(tx: AsyncConnection, key_ids: list[str]) -> dict[str, _Holder]:
    holders: dict[str, _Holder] = {}
    for row in await tx.execute(_HOLDERS, {"key_ids": key_ids}):
        holder = holders.get(row.id)
        if holder is None:
            holder = holders[row.id] = _Holder(
                user_id=row.user_id,
                bound=frozenset(row.groups),
                scopes=tuple(row.scopes),
                expires_at=row.expires_at,
                revoked_at=row.revoked_at,
                disabled_at=row.disabled_at,
                primary_group=row.primary_group,
                roles={},
            )
        if row.group_id is not None:
            holder.roles[row.group_id] = row.role
    return holders


def _resolve(world: Hierarchy, holder: _Holder | None, caller: Caller, now: float) -> Principal | CohortError:
    if holder is None or holder.user_id != caller.user_id:
        return refusals.unauthenticated(refusals.WRONG)
    if holder.revoked_at is not None:
        return refusals.unauthenticated(refusals.REVOKED)
    if holder.expires_at is not None and holder.expires_at <= now:
        return refusals.unauthenticated(refusals.EXPIRED)
    if holder.disabled_at is not None:
        return refusals.unauthenticated(refusals.DISABLED)
    try:
        return _principal(world, holder, caller)
    except CohortError as refusal:
        return refusal


def _principal(world: Hierarchy, holder: _Holder, caller: Caller) -> Principal:
    """Apply key bounds, then the override, then the context; each may only narrow or replace, never add."""
    direct = holder.roles.keys() & holder.bound if holder.bound else set(holder.roles)
    if not direct:
        raise refusals.forbidden(refusals.NO_GROUP)
    administers = _administered(world, holder, direct)
    closure = world.closure(holder.roles)
    billing = _home(holder, direct)
    if caller.override:
        may = EVERY_GROUP in administers or caller.override in administers
        if holder.bound or not may or caller.override not in world.groups:
            raise refusals.forbidden(refusals.OVERRIDE)
        direct, billing = {caller.override}, caller.override
        closure |= world.closure(direct)
    effective = world.closure(direct)
    grants: list[Grant]
    if caller.context and caller.context not in direct:
        if caller.context not in effective:
            raise refusals.forbidden(refusals.CONTEXT)
        direct, effective = set[str](), world.closure([caller.context])
        # No direct membership is in force, so the grants name none: they confer nothing *in* a group.
        grants = world.shared(effective, group="")
    else:
        if caller.context:
            direct, effective = {caller.context}, world.closure([caller.context])
        grants = [grant for group in sorted(direct) for grant in world.grants(group)]
    return Principal(
        user_id=holder.user_id,
        key_id=caller.key_id,
        direct=tuple(sorted(direct)),
        effective=tuple(sorted(effective)),
        closure=tuple(sorted(closure)),
        clearance=max((world.groups[group].access_level for group in direct), key=_rank, default=Level.PUBLIC),
        grants=tuple(grants),
        scopes=holder.scopes,
        administers=tuple(sorted(administers)),
        billing_group=caller.override or caller.context or billing,
        context=caller.context,
        override=caller.override,
        epochs={
            **world.global_epochs,
            **{epochs.of_group(group): world.groups[group].epoch for group in sorted(closure)},
        },
    )


def _rank(level: Level) -> int:
    return level.rank


def _administered(world: Hierarchy, holder: _Holder, direct: set[str]) -> set[str]:
    levels = {group: world.groups[group].level_of(holder.roles[group]) for group in direct}
    if any(level >= PLATFORM for level in levels.values()):
        return {EVERY_GROUP}
    return world.below(group for group, level in levels.items() if level >= ADMIN)


def _home(holder: _Holder, direct: set[str]) -> str:
    """The group that pays where the call names none; a primary group that the user has left pays no more."""
    return holder.primary_group if holder.primary_group in direct else min(direct)
