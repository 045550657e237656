"""Users: create, disable, enable, delete."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.administration import UserCreateInput, UserDeleteOutput, UserInput, UserOutput
from domain.calls import Caller
from domain.errors import CohortError, ErrorCode, invalid, not_found
from domain.ids import OBJECT_ID
from storage import authority as authorities
from storage import epochs, groups, retired
from storage.administration.change import Change, administered, iso
from storage.authority import GROUPS_ADMIN, Authority
from storage.tables import KEYS, MEMBERSHIPS, USERS


@dataclass(frozen=True)
class Person:
    """A user with his roles by direct group."""

    id: str
    name: str
    primary_group: str
    created_at: float
    disabled_at: float | None
    roles: Mapping[str, int | None]

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups whose administrators are his: those that he is in, or the last one where he is in none."""
        return tuple(sorted(self.roles)) or (self.primary_group,)


async def find(tx: AsyncConnection, user_id: str) -> Person | None:
    """A user, in one round trip."""
    statement = (
        select(USERS, MEMBERSHIPS.c.group_id, MEMBERSHIPS.c.role)
        .select_from(USERS.outerjoin(MEMBERSHIPS, MEMBERSHIPS.c.user_id == USERS.c.id))
        .where(USERS.c.id == (user_id if OBJECT_ID.fullmatch(user_id) else ""))
    )
    rows = (await tx.execute(statement)).all()
    if not rows:
        return None
    roles = {row.group_id: row.role for row in rows if row.group_id is not None}
    one = rows[0]
    return Person(one.id, one.name, one.primary_group, one.created_at, one.disabled_at, roles)


async def create(tx: AsyncConnection, caller: Caller, asked: UserCreateInput) -> Change:
    """Add a user as a member of his primary group.

    Raises:
        CohortError: `invalid_argument`, `forbidden`, or `conflict` where the id is taken; nothing was changed.
    """
    authority = await authorities.read(tx, caller, [asked.primary_group])
    if not authority.may(GROUPS_ADMIN, asked.primary_group):
        raise invalid(("primaryGroup", "there is no such group, or you do not administer it"))
    authority.check(GROUPS_ADMIN, authority.membership(asked.primary_group, asked.role), asked.primary_group)
    await groups.create_user(
        tx, asked.id, primary_group=asked.primary_group, name=asked.name or "", role=asked.role, by=None
    )
    return await _change(tx, asked.id, "users.created", f"primary group {asked.primary_group}, role {asked.role}")


async def disable(tx: AsyncConnection, caller: Caller, asked: UserInput) -> Change:
    """Refuse all keys of a user from the next request on.

    Raises:
        CohortError: `not_found`, or `conflict` where it is the caller himself; nothing was changed.
    """
    person, _ = await _administered(tx, caller, asked)
    _check_other(caller, person)
    if person.disabled_at is None:
        await groups.disable_user(tx, person.id, by=None)
    return await _change(tx, person.id, "users.disabled", "")


async def enable(tx: AsyncConnection, caller: Caller, asked: UserInput) -> Change:
    """Accept a disabled user's keys again, which gives him all that he had.

    Raises:
        CohortError: `not_found` or `forbidden`; nothing was changed.
    """
    person, authority = await _administered(tx, caller, asked)
    if person.disabled_at is not None:
        for group, role in person.roles.items():
            authority.check(GROUPS_ADMIN, authority.membership(group, role), group)
        await tx.execute(update(USERS).where(USERS.c.id == person.id).values(disabled_at=None))
    return await _change(tx, person.id, "users.enabled", "")


async def remove(tx: AsyncConnection, caller: Caller, asked: UserInput) -> Change:
    """Delete a user with his memberships and keys; his id is never used again.

    Raises:
        CohortError: `not_found`, or `conflict` where it is the caller himself; nothing was changed.
    """
    person, _ = await _administered(tx, caller, asked)
    _check_other(caller, person)
    keys = (await tx.execute(delete(KEYS).where(KEYS.c.user_id == person.id))).rowcount
    await tx.execute(delete(MEMBERSHIPS).where(MEMBERSHIPS.c.user_id == person.id))
    await tx.execute(delete(USERS).where(USERS.c.id == person.id))
    await retired.retire(tx, "user", person.id)
    await epochs.bump(tx, [epochs.of_group(group) for group in person.roles])
    output = UserDeleteOutput(id=person.id, keys=keys)
    return Change(output, f"user:{person.id}", f"{keys} keys", {"type": "users.deleted"}, administered(*person.groups))


async def _administered(tx: AsyncConnection, caller: Caller, asked: UserInput) -> tuple[Person, Authority]:
    """A user all of whose groups the caller administers: what is done to him is felt in each of them.

    Raises:
        CohortError: `not_found`, alike for a user who does not exist and for one with a group that is not the caller's.
    """
    person = await find(tx, asked.id)
    authority = await authorities.read(tx, caller, person.groups if person is not None else [])
    if person is None or not all(authority.may(GROUPS_ADMIN, group) for group in person.groups):
        raise no_such_user()
    return person, authority


def no_such_user() -> CohortError:
    """The answer for a user who is not the caller's to administer, or not there."""
    return CohortError(
        not_found("user").code,
        "There is no such user all of whose groups you administer, and nothing was changed. List the members of your "
        "groups to find those whom you may see; removing one from a group takes that group only.",
    )


def _check_other(caller: Caller, person: Person) -> None:
    if person.id == caller.user_id:
        raise CohortError(
            ErrorCode.CONFLICT,
            "This is your own user, and nothing was changed: you could not undo it. Ask another administrator.",
        )


async def _change(tx: AsyncConnection, user_id: str, event: str, reason: str) -> Change:
    person = await find(tx, user_id)
    assert person is not None
    output = UserOutput(
        id=person.id,
        name=person.name,
        primary_group=person.primary_group,
        groups=sorted(person.roles),
        disabled=person.disabled_at is not None,
        created_at=iso(person.created_at),
    )
    return Change(output, f"user:{user_id}", reason, {"type": event}, administered(*person.groups))
