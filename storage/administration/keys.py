"""API keys: make, list, rotate, revoke.

Whoever makes or rotates a key holds its token, and could act as its user: he gets none that could do more than he can.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.administration import (
    KeyCreateInput,
    KeyInput,
    KeyMadeOutput,
    KeyOutput,
    KeyRotatedOutput,
    KeyRotateInput,
    KeysListInput,
    KeysListOutput,
)
from domain.calls import Caller
from domain.errors import CohortError, ErrorCode, invalid, not_found
from domain.policy import covers
from storage import authority as authorities
from storage import groups
from storage.administration.change import Change, administered, iso
from storage.administration.people import Person, find
from storage.authority import KEYS_ADMIN, Authority, lacks
from storage.tables import KEYS, MEMBERSHIPS


@dataclass(frozen=True)
class _Bounds:
    """What narrows a key."""

    groups: Sequence[str]
    scopes: Sequence[str]
    expires_at: float | None


async def create(tx: AsyncConnection, caller: Caller, asked: KeyCreateInput, pepper: bytes) -> Change:
    """Make a key. One for another user is bound to groups that the caller administers.

    Raises:
        CohortError: `not_found`, `invalid_argument` or `forbidden`; no key was made.
    """
    person = await find(tx, asked.user_id if asked.user_id is not None else caller.user_id)
    authority = await authorities.read(tx, caller, person.groups if person is not None else [])
    if person is None or not _may_make(authority, person):
        raise not_found("user")
    bound = _bound(authority, person, asked.groups)
    expires = None if asked.expires_in_seconds is None else time.time() + asked.expires_in_seconds
    bounds = _Bounds(bound, asked.scopes, expires)
    await _check(tx, authority, person, bounds)
    made = await groups.create_key(
        tx,
        person.id,
        pepper=pepper,
        name=asked.name,
        groups=bounds.groups,
        scopes=bounds.scopes,
        expires_at=bounds.expires_at,
        by=None,
    )
    output = KeyMadeOutput(key=_output(await _row(tx, made.id)), token=made.token)
    facts = {"type": "keys.created", "userId": person.id}
    provenance = administered(*_reach(output.key.groups, person)) if person.id != caller.user_id else ()
    return Change(output, f"key:{made.id}", f"user {person.id}", facts, provenance, secret=True)


async def rotate(tx: AsyncConnection, caller: Caller, asked: KeyRotateInput, pepper: bytes) -> Change:
    """Make a key like another, which stays valid for the overlap.

    Raises:
        CohortError: `not_found`, `forbidden`, or `conflict` where the key is in force no more; nothing was changed.
    """
    row, person, authority = await _administered(tx, caller, asked.id)
    now = time.time()
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        raise CohortError(
            ErrorCode.CONFLICT,
            "The key was revoked or has expired, and nothing was changed. Make a new key instead.",
        )
    # Groups that the user has left do not come with it; without any it would be bound no more.
    bounds = _Bounds([group for group in row.groups if group in person.roles], row.scopes, row.expires_at)
    if row.groups and not bounds.groups:
        raise CohortError(
            ErrorCode.CONFLICT,
            "The key is bound to groups that its user has left, and nothing was changed. Make a new key instead.",
        )
    await _check(tx, authority, person, bounds)
    made = await groups.create_key(
        tx,
        person.id,
        pepper=pepper,
        name=row.name,
        groups=bounds.groups,
        scopes=bounds.scopes,
        expires_at=bounds.expires_at,
        by=None,
    )
    if asked.overlap_seconds:
        until = min(now + asked.overlap_seconds, row.expires_at or float("inf"))
        await tx.execute(update(KEYS).where(KEYS.c.id == row.id).values(expires_at=until))
    else:
        await groups.revoke_key(tx, row.id, by=None)
    output = KeyRotatedOutput(
        key=_output(await _row(tx, made.id)), token=made.token, replaces=_output(await _row(tx, row.id))
    )
    facts = {"type": "keys.rotated", "userId": person.id, "by": made.id}
    provenance = administered(*_reach(row.groups, person)) if person.id != caller.user_id else ()
    reason = f"replaced by {made.id}, valid for {asked.overlap_seconds} s more"
    return Change(output, f"key:{row.id}", reason, facts, provenance, secret=True)


async def revoke(tx: AsyncConnection, caller: Caller, asked: KeyInput) -> Change:
    """Refuse a key from the next request on; one that was revoked already stays so.

    Raises:
        CohortError: `not_found`; nothing was changed.
    """
    row, person, _ = await _administered(tx, caller, asked.id)
    if row.revoked_at is None:
        await groups.revoke_key(tx, row.id, by=None)
    facts = {"type": "keys.revoked", "userId": person.id}
    provenance = administered(*_reach(row.groups, person)) if person.id != caller.user_id else ()
    return Change(_output(await _row(tx, row.id)), f"key:{row.id}", f"user {person.id}", facts, provenance)


@dataclass(frozen=True)
class Page:
    """One page of keys; `after` is where the next begins, None on the last."""

    output: KeysListOutput
    total: int
    after: str | None


async def page(tx: AsyncConnection, caller: Caller, asked: KeysListInput, after: str) -> Page:
    """The caller's keys and those that he administers, by id, from behind `after`."""
    principal = (await authorities.read(tx, caller, [])).principal
    mine = KEYS.c.user_id == principal.user_id
    if not principal.administers_all():
        near = select(MEMBERSHIPS.c.user_id).where(MEMBERSHIPS.c.group_id.in_(principal.administers))
        mine = or_(mine, KEYS.c.user_id.in_(near))
    else:
        mine = true()
    if asked.user_id is not None:
        mine = mine & (KEYS.c.user_id == asked.user_id)
    rows = (await tx.execute(select(KEYS).where(mine).order_by(KEYS.c.id))).all()
    direct: dict[str, list[str]] = {}
    users = select(KEYS.c.user_id).where(mine)
    for row in await tx.execute(select(MEMBERSHIPS).where(MEMBERSHIPS.c.user_id.in_(users))):
        direct.setdefault(row.user_id, []).append(row.group_id)
    concerned = {group for row in rows for group in row.groups} | {one for many in direct.values() for one in many}
    authority = await authorities.read(tx, caller, concerned)
    seen = [row for row in rows if _may_see(authority, row.user_id, row.groups or direct.get(row.user_id, ()))]
    shown = [row for row in seen if row.id > after]
    output = KeysListOutput(keys=[_output(row) for row in shown[: asked.limit]])
    return Page(output, len(seen), output.keys[-1].id if len(shown) > asked.limit else None)


async def _administered(tx: AsyncConnection, caller: Caller, key_id: str) -> tuple[Row[Any], Person, Authority]:
    """A key of the caller's, or one whose every group he administers.

    Raises:
        CohortError: `not_found`, alike for a key that does not exist and for one that is not his.
    """
    row = (await tx.execute(select(KEYS).where(KEYS.c.id == key_id))).one_or_none()
    person = await find(tx, row.user_id if row is not None else "")
    concerned = [*row.groups, *person.groups] if row is not None and person is not None else []
    authority = await authorities.read(tx, caller, concerned)
    if row is None or person is None or not _may_see(authority, person.id, _reach(row.groups, person)):
        raise not_found("key")
    return row, person, authority


def _reach(bound: Sequence[str], person: Person) -> tuple[str, ...]:
    """The groups for which a key can speak."""
    return tuple(bound) or person.groups


def _may_make(authority: Authority, person: Person) -> bool:
    mine = person.id == authority.principal.user_id and authority.principal.may(KEYS_ADMIN)
    return mine or any(authority.may(KEYS_ADMIN, group) for group in person.groups)


def _may_see(authority: Authority, user_id: str, reach: Collection[str]) -> bool:
    mine = user_id == authority.principal.user_id and authority.principal.may(KEYS_ADMIN)
    if mine or authority.may_everywhere(KEYS_ADMIN):
        return True
    return bool(reach) and all(authority.may(KEYS_ADMIN, group) for group in reach)


def _bound(authority: Authority, person: Person, asked: Sequence[str]) -> list[str]:
    """The groups that a key is bound to: what was asked for, else what the caller may bind it to.

    Raises:
        CohortError: `invalid_argument`, alike for groups that the user is not in and for those that are not the
            caller's.
    """
    if person.id == authority.principal.user_id:
        may = set(person.roles)
    else:
        may = {group for group in person.roles if authority.may(KEYS_ADMIN, group)}
    if not set(asked) <= may:
        whose = "yours" if person.id == authority.principal.user_id else "the user's that you administer"
        raise invalid(("groups", f"must be direct groups of {whose}"))
    if not asked and person.id != authority.principal.user_id and not authority.may_everywhere(KEYS_ADMIN):
        if not may:
            raise invalid(("userId", "is in no group to which a key could be bound: add the user to one first"))
        return sorted(may)
    return sorted(set(asked))


async def _check(tx: AsyncConnection, authority: Authority, person: Person, key: _Bounds) -> None:
    """Refuse a key that could do what its maker, with the key that he uses now, cannot.

    Raises:
        CohortError: `forbidden`, with what he lacks.
    """
    principal = authority.principal
    own = await _row(tx, principal.key_id)
    lacking: list[str] = []
    if own.expires_at is not None and (key.expires_at is None or key.expires_at > own.expires_at):
        lacking.append("more time than the key that you use has left")
    if principal.scopes and not (
        key.scopes and all(any(covers(mine, one) for mine in principal.scopes) for one in key.scopes)
    ):
        lacking.append("permissions outside the scopes of the key that you use")
    if person.id == principal.user_id:
        narrowed = bool(own.groups) or principal.context is not None or principal.override is not None
        if narrowed and not (key.groups and set(key.groups) <= set(principal.direct)):
            lacking.append("groups outside those of the key that you use, or of this call's group context")
    if lacking:
        raise lacks(lacking)
    if person.id != principal.user_id:
        for group in key.groups or person.groups:
            if group in person.roles:
                authority.check(KEYS_ADMIN, authority.membership(group, person.roles[group], key.scopes), group)


async def _row(tx: AsyncConnection, key_id: str) -> Row[Any]:
    return (await tx.execute(select(KEYS).where(KEYS.c.id == key_id))).one()


def _output(row: Row[Any]) -> KeyOutput:
    expired = row.expires_at is not None and row.expires_at <= time.time()
    return KeyOutput(
        id=row.id,
        user_id=row.user_id,
        name=row.name,
        groups=row.groups,
        scopes=row.scopes,
        state="revoked" if row.revoked_at is not None else "expired" if expired else "active",
        created_at=iso(row.created_at),
        expires_at=None if row.expires_at is None else iso(row.expires_at),
        revoked_at=None if row.revoked_at is None else iso(row.revoked_at),
    )
