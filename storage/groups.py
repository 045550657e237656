"""Changes of groups, users, memberships and keys, each with the epochs that it raises.

Whether the actor may make a change is decided before these are called (`storage.authority`). Each writes its audit line
too, except with `by=None`: an administrative call has one entry of its own, however many of these it takes.
"""

import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Table, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import CohortError, ErrorCode, invalid, not_found
from domain.ids import GROUP_ID, OBJECT_ID
from domain.keys import ApiKey, key_digest, new_key
from domain.policy import Level
from storage import audit, epochs, hierarchy, retired
from storage.audit import SYSTEM, Actor
from storage.tables import GROUPS, KEYS, MEMBERSHIPS, USERS
from storage.upserts import insert

_PERMISSION = re.compile(r"(\*|[a-z][a-z0-9_-]{0,63}):(\*|[a-z][a-z0-9_-]{0,63})")


async def create_group(
    tx: AsyncConnection,
    group_id: str,
    *,
    name: str,
    parent: str | None = None,
    access_level: Level = Level.INTERNAL,
    admin_level: int = 0,
    permissions: Sequence[str] = (),
    shared_permissions: Sequence[str] = (),
    weight: float = 1,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    parallel: int | None = None,
    monthly_budget_micros: int | None = None,
    providers: Sequence[str] = (),
    models: Sequence[str] = (),
    artifact_prefixes: Sequence[str] = (),
    by: Actor | None = SYSTEM,
) -> None:
    """Add a group.

    Raises:
        CohortError: `invalid_argument`, or `conflict` where the id is taken; nothing was changed.
    """
    _check_shape("id", group_id, GROUP_ID)
    _check_permissions("permissions", permissions)
    _check_permissions("sharedPermissions", shared_permissions)
    if not 0 <= admin_level <= hierarchy.PLATFORM:
        raise invalid(("adminLevel", "must be 0, 1, 2 or 3"))
    if parent is not None:
        await _check_group(tx, "parent", parent)
    row = {
        "id": group_id,
        "name": name,
        "parent": parent,
        "access_level": access_level.value,
        "admin_level": admin_level,
        "permissions": list(permissions),
        "shared_permissions": list(shared_permissions),
        "tier": "standard",
        "weight": weight,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "parallel": parallel,
        "monthly_budget_micros": monthly_budget_micros,
        "providers": list(providers),
        "models": list(models),
        "artifact_prefixes": list(artifact_prefixes),
        "created_at": time.time(),
    }
    await _add(tx, GROUPS, "group", row)
    await epochs.bump(tx, [epochs.POLICY, epochs.of_group(group_id)])
    await _note(tx, by, "groups_create", f"group:{group_id}")


async def create_user(
    tx: AsyncConnection,
    user_id: str,
    *,
    primary_group: str,
    name: str = "",
    role: int | None = None,
    by: Actor | None = SYSTEM,
) -> None:
    """Add a user as a member of his primary group.

    Raises:
        CohortError: `invalid_argument`, or `conflict` where the id is taken; nothing was changed.
    """
    _check_shape("userId", user_id, OBJECT_ID)
    await _check_group(tx, "primaryGroup", primary_group)
    row = {
        "id": user_id,
        "name": name or user_id,
        "primary_group": primary_group,
        "created_at": time.time(),
        "disabled_at": None,
    }
    await _add(tx, USERS, "user", row)
    await _note(tx, by, "users_create", f"user:{user_id}")
    await add_member(tx, user_id, primary_group, role=role, by=by)


async def add_member(
    tx: AsyncConnection, user_id: str, group_id: str, *, role: int | None = None, by: Actor | None = SYSTEM
) -> None:
    """Make a user a direct member of a group, or give an existing member another role.

    `role` (0 to 3) is the highest admin level that he has there; None means the group's own.

    Raises:
        CohortError: `invalid_argument`; nothing was changed.
    """
    if role is not None and not 0 <= role <= hierarchy.PLATFORM:
        raise invalid(("role", "must be 0, 1, 2 or 3"))
    await _check_group(tx, "group", group_id)
    await _check_user(tx, user_id)
    row = {"user_id": user_id, "group_id": group_id, "role": role, "created_at": time.time()}
    statement = insert(tx, MEMBERSHIPS).values(row)
    await tx.execute(statement.on_conflict_do_update(index_elements=["user_id", "group_id"], set_={"role": role}))
    await epochs.bump(tx, [epochs.of_group(group_id)])
    await _note(tx, by, "groups_add_member", f"group:{group_id}", f"user {user_id}, role {role}")


async def remove_member(tx: AsyncConnection, user_id: str, group_id: str, *, by: Actor | None = SYSTEM) -> None:
    """End a direct membership; ending one that is not there does nothing.

    A primary group that its user has left pays no more: the first of those that he is in takes its place.
    """
    mine = MEMBERSHIPS.c.user_id == user_id
    gone = MEMBERSHIPS.delete().where(mine, MEMBERSHIPS.c.group_id == group_id)
    if (await tx.execute(gone)).rowcount:
        first = await tx.scalar(select(func.min(MEMBERSHIPS.c.group_id)).where(mine))
        if first is not None:
            left = update(USERS).where(USERS.c.id == user_id, USERS.c.primary_group == group_id)
            await tx.execute(left.values(primary_group=first))
        await epochs.bump(tx, [epochs.of_group(group_id)])
        await _note(tx, by, "groups_remove_member", f"group:{group_id}", f"user {user_id}")


async def disable_user(tx: AsyncConnection, user_id: str, *, by: Actor | None = SYSTEM) -> None:
    """Refuse all keys of a user from the next request on."""
    await tx.execute(update(USERS).where(USERS.c.id == user_id).values(disabled_at=time.time()))
    await _note(tx, by, "users_disable", f"user:{user_id}")


async def create_key(
    tx: AsyncConnection,
    user_id: str,
    *,
    pepper: bytes,
    name: str = "",
    groups: Sequence[str] = (),
    scopes: Sequence[str] = (),
    expires_at: float | None = None,
    by: Actor | None = SYSTEM,
) -> ApiKey:
    """Make a key; its token is in the answer and nowhere else. `pepper` is `Secrets.key("api-keys")`.

    `groups` and `scopes` (permission patterns) bind it where they are given, `expires_at` is a Unix time.

    Raises:
        CohortError: `invalid_argument`; no key was made.
    """
    _check_permissions("scopes", scopes)
    await _check_user(tx, user_id)
    member = select(MEMBERSHIPS.c.group_id).where(MEMBERSHIPS.c.user_id == user_id)
    if not set(groups) <= set((await tx.execute(member)).scalars()):
        raise invalid(("groups", "must be groups that the key's user is a direct member of"))
    key = new_key()
    row = {
        "id": key.id,
        "digest": key_digest(key.token, pepper),
        "user_id": user_id,
        "name": name,
        "groups": sorted(set(groups)),
        "scopes": sorted(set(scopes)),
        "created_at": time.time(),
        "expires_at": expires_at,
        "revoked_at": None,
    }
    await tx.execute(KEYS.insert().values(row))
    await _note(tx, by, "keys_create", f"key:{key.id}", f"user {user_id}")
    return key


async def revoke_key(tx: AsyncConnection, key_id: str, *, by: Actor | None = SYSTEM) -> None:
    """Refuse a key from the next request on.

    Raises:
        CohortError: `not_found`.
    """
    revoked = update(KEYS).where(KEYS.c.id == key_id, KEYS.c.revoked_at.is_(None)).values(revoked_at=time.time())
    if not (await tx.execute(revoked)).rowcount:
        raise not_found("key in force")
    await _note(tx, by, "keys_revoke", f"key:{key_id}")


def _check_shape(field: str, given: str, shape: re.Pattern[str]) -> None:
    if shape.fullmatch(given) is None:
        raise invalid((field, f"must have the shape {shape.pattern}"))


def _check_permissions(field: str, patterns: Iterable[str]) -> None:
    wrong = [pattern for pattern in patterns if _PERMISSION.fullmatch(pattern) is None]
    if wrong:
        raise invalid((field, f"{wrong[0]!r} is not resource:action, such as products:read or models:*"))


async def _check_group(tx: AsyncConnection, field: str, group_id: str) -> None:
    found = await tx.execute(select(GROUPS.c.id).where(GROUPS.c.id == group_id))
    if found.first() is None:
        raise invalid((field, "there is no such group"))


async def _check_user(tx: AsyncConnection, user_id: str) -> None:
    found = await tx.execute(select(USERS.c.id).where(USERS.c.id == user_id))
    if found.first() is None:
        raise invalid(("userId", "there is no such user"))


async def _add(tx: AsyncConnection, table: Table, kind: retired.Kind, row: dict[str, Any]) -> None:
    statement = insert(tx, table).values(row).on_conflict_do_nothing(index_elements=["id"]).returning(table.c.id)
    if await retired.holds(tx, kind, row["id"]) or (await tx.execute(statement)).first() is None:
        raise CohortError(
            ErrorCode.CONFLICT,
            f"The id {row['id']!r} is taken, or belonged to a {kind} that was deleted. Nothing was changed: choose "
            "another id.",
        )


async def _note(tx: AsyncConnection, by: Actor | None, operation: str, what: str, reason: str = "") -> None:
    if by is not None:
        await audit.append(tx, [audit.Entry(by, operation, object=what, reason=reason)])
