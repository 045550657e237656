"""Members of groups: add, remove, list."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.administration import (
    MemberAddInput,
    MemberAddOutput,
    MemberOutput,
    MemberRemoveInput,
    MemberRemoveOutput,
    MembersInput,
    MembersOutput,
)
from domain.calls import Caller
from domain.errors import not_found
from storage import authority as authorities
from storage import groups
from storage.administration.change import Change, administered, iso
from storage.administration.people import Person, find
from storage.authority import GROUPS_ADMIN, Authority
from storage.tables import MEMBERSHIPS, USERS


async def add(tx: AsyncConnection, caller: Caller, asked: MemberAddInput) -> Change:
    """Make a user a member, or give a member another role.

    Whom he may add, the caller knows already: a member of one of his groups in force or of one that he administers.
    Whether any other user exists is not told.

    Raises:
        CohortError: `not_found` or `forbidden`; nothing was changed.
    """
    person = await find(tx, asked.user_id)
    authority = await authorities.read(tx, caller, [asked.id, *(person.groups if person else ())])
    group = authority.group(GROUPS_ADMIN, asked.id)
    if person is None or not _known(authority, person):
        raise not_found("user")
    authority.check(GROUPS_ADMIN, authority.membership(group.id, asked.role), group.id)
    changed = group.id not in person.roles or person.roles[group.id] != asked.role
    if changed:
        await groups.add_member(tx, person.id, group.id, role=asked.role, by=None)
    output = MemberAddOutput(
        group_id=group.id,
        user_id=person.id,
        role=asked.role,
        admin_level=group.level_of(asked.role),
        changed=changed,
    )
    facts = {"type": "groups.member_added", "userId": person.id}
    reason = f"user {person.id}, role {asked.role}"
    return Change(output, f"group:{group.id}", reason, facts, administered(group.id))


async def remove(tx: AsyncConnection, caller: Caller, asked: MemberRemoveInput) -> Change:
    """End a membership.

    Raises:
        CohortError: `not_found`: there is no such group or member; nothing was changed.
    """
    person = await find(tx, asked.user_id)
    authority = await authorities.read(tx, caller, [asked.id])
    group = authority.group(GROUPS_ADMIN, asked.id)
    if person is None or group.id not in person.roles:
        raise not_found("member")
    await groups.remove_member(tx, person.id, group.id, by=None)
    output = MemberRemoveOutput(group_id=group.id, user_id=person.id)
    facts = {"type": "groups.member_removed", "userId": person.id}
    return Change(output, f"group:{group.id}", f"user {person.id}", facts, administered(group.id))


@dataclass(frozen=True)
class Page:
    """One page of members; `after` is where the next begins, None on the last."""

    output: MembersOutput
    total: int
    after: str | None


async def page(tx: AsyncConnection, caller: Caller, asked: MembersInput, after: str) -> Page:
    """Members by id, from behind `after`.

    Raises:
        CohortError: `not_found`.
    """
    authority = await authorities.read(tx, caller, [asked.id])
    group = authority.group(GROUPS_ADMIN, asked.id)
    mine = MEMBERSHIPS.c.group_id == group.id
    total = await tx.scalar(select(func.count()).select_from(MEMBERSHIPS).where(mine)) or 0
    statement = (
        select(MEMBERSHIPS, USERS.c.name, USERS.c.disabled_at)
        .join(USERS, USERS.c.id == MEMBERSHIPS.c.user_id)
        .where(mine, MEMBERSHIPS.c.user_id > after)
        .order_by(MEMBERSHIPS.c.user_id)
        .limit(asked.limit + 1)
    )
    rows: Sequence[Row[tuple[object, ...]]] = (await tx.execute(statement)).all()
    members = [
        MemberOutput(
            user_id=row.user_id,
            name=row.name,
            role=row.role,
            admin_level=group.level_of(row.role),
            disabled=row.disabled_at is not None,
            since=iso(row.created_at),
        )
        for row in rows[: asked.limit]
    ]
    more = len(rows) > asked.limit
    return Page(MembersOutput(group_id=group.id, members=members), total, members[-1].user_id if more else None)


def _known(authority: Authority, person: Person) -> bool:
    """Whether the caller knows of this user anyway."""
    if authority.may_everywhere(GROUPS_ADMIN):
        return True
    mine = authority.principal.effective
    return any(group in mine or authority.may(GROUPS_ADMIN, group) for group in person.groups)
