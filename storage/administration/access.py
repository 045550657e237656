"""Who may see an object: change its level, groups and sensitivity. One shape for every kind of object."""

import time
from collections.abc import Collection, Iterable

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.administration import AccessInput, AccessOutput
from domain.calls import Caller, Provenance
from domain.errors import CohortError, ErrorCode, invalid, not_found
from domain.ids import GROUP_ID, OBJECT_ID
from domain.policy import Level, ObjectAccess, Principal, visibility, visible
from storage import authority as authorities
from storage import objects
from storage.administration.change import Change
from storage.ingest_rights import PUBLISH, ceiling, nameable
from storage.policy_sql import TABLES, ObjectKind, where
from storage.tables import OBJECT_GROUPS, Document, Product

_MODELS: dict[ObjectKind, type[Document] | type[Product]] = {"document": Document, "product": Product}


async def change(tx: AsyncConnection, kind: ObjectKind, caller: Caller, asked: AccessInput) -> Change:
    """Change who may see an object of a group in which the caller may write. Its version rises.

    Groups in its lists that the caller may not name stay there and are not shown.

    Raises:
        CohortError: `not_found`, alike for an object that does not exist and for one that he may not see;
            `forbidden` or `invalid_argument`; nothing was changed.
    """
    principal = (await authorities.read(tx, caller, [])).principal
    owner = await _owner(tx, kind, principal, asked)
    if owner not in principal.direct or not principal.may_in(owner, f"{kind}s:write"):
        raise CohortError(
            ErrorCode.FORBIDDEN,
            f"You cannot change who may see this {kind}; nothing was changed. That takes a direct membership in its "
            f"group which brings {kind}s:write: groups_list shows yours.",
        )
    # The same lock as an ingestion takes, so that the version that is read here is the last one.
    await objects.lock(tx, owner)
    found = (await objects.access_of(tx, kind, [(owner, asked.id)])).get((owner, asked.id))
    if found is None or not visible(principal, found[1]):
        raise not_found(kind)
    version, before = found
    listed = {*before.allowed_groups, *before.restricted_groups}
    named = await nameable(tx, principal, {*listed, *(asked.allowed_groups or ()), *(asked.restricted_groups or ())})
    after = _after(principal, before, asked, named)
    if after != before:
        version += 1
        await _write(tx, kind, owner, asked.id, version, before, after)
    output = AccessOutput(
        id=asked.id,
        owner_group=owner,
        access_level=after.access_level,
        allowed_groups=sorted(after.allowed_groups & named),
        restricted_groups=sorted(after.restricted_groups & named),
        sensitive=after.sensitive,
        version=version,
        changed=after != before,
    )
    # Ids only: who is in the lists stays between the object and its group.
    facts = {"type": f"{kind}s.access_changed", "ownerGroup": owner, "id": asked.id, "version": version}
    reason = f"{after.access_level.value}, sensitive {after.sensitive}, version {version}"
    rests_on = Provenance(kind=kind, owner_group=owner, id=asked.id, version=version)
    return Change(output, f"{kind}:{owner}/{asked.id}", reason, facts, (rests_on,))


async def _owner(tx: AsyncConnection, kind: ObjectKind, principal: Principal, asked: AccessInput) -> str:
    """The owner group of the object that is meant: of several that the caller sees, the one in his nearest group.

    Raises:
        CohortError: `not_found`.
    """
    table = TABLES[kind]
    well_formed = OBJECT_ID.fullmatch(asked.id) and (asked.owner_group is None or GROUP_ID.fullmatch(asked.owner_group))
    statement = select(table.c.owner_group).where(
        table.c.id == (asked.id if well_formed else ""), where(visibility(principal), _MODELS[kind])
    )
    if asked.owner_group is not None:
        statement = statement.where(table.c.owner_group == asked.owner_group)
    owners = list((await tx.execute(statement)).scalars())
    if not owners:
        raise not_found(kind)
    return min(owners, key=lambda one: (one != principal.billing_group, one not in principal.direct, one))


def _after(principal: Principal, before: ObjectAccess, asked: AccessInput, named: Collection[str]) -> ObjectAccess:
    """The access that was asked for, where this caller may give it.

    Raises:
        CohortError: `forbidden` or `invalid_argument`.
    """
    wanted = (asked.access_level, asked.allowed_groups, asked.restricted_groups, asked.sensitive)
    if all(one is None for one in wanted):
        raise invalid(("data", "must name accessLevel, allowedGroups, restrictedGroups or sensitive"))
    level = asked.access_level or before.access_level
    if level is not before.access_level:
        if level is Level.PUBLIC and not principal.may_in(before.owner_group, PUBLISH):
            raise CohortError(
                ErrorCode.FORBIDDEN,
                f"Making objects public takes {PUBLISH} in this group; nothing was changed. Ask for internal, or name "
                "the groups in allowedGroups.",
            )
        if level.rank > ceiling(principal).rank:
            own = principal.clearance.value
            raise invalid(("accessLevel", f"must not be above your own clearance, which is {own}"))
    after = ObjectAccess(
        owner_group=before.owner_group,
        access_level=level,
        allowed_groups=_list("allowedGroups", before.allowed_groups, asked.allowed_groups, named),
        restricted_groups=_list("restrictedGroups", before.restricted_groups, asked.restricted_groups, named),
        sensitive=before.sensitive if asked.sensitive is None else asked.sensitive,
    )
    if not visible(principal, after):
        raise invalid(("data", "would hide it from yourself: ask for less, or ask another to do this"))
    return after


def _list(field: str, before: Iterable[str], asked: list[str] | None, named: Collection[str]) -> frozenset[str]:
    """The list with what was asked for in place of those that the caller may name; the others stay."""
    if asked is None:
        return frozenset(before)
    if any(group not in named for group in asked):
        raise invalid(
            (field, "names a group that you may not name: take your own groups, those above and those you administer")
        )
    return frozenset(asked) | {group for group in before if group not in named}


async def _write(
    tx: AsyncConnection,
    kind: ObjectKind,
    owner: str,
    object_id: str,
    version: int,
    before: ObjectAccess,
    after: ObjectAccess,
) -> None:
    """Write access and version. The digest stays that of what was ingested: the same file again changes nothing."""
    await objects.raise_epochs(tx, kind, owner, [object_id], [before.access_level.value], [after])
    table = TABLES[kind]
    await tx.execute(
        update(table)
        .where(table.c.owner_group == owner, table.c.id == object_id)
        .values(
            access_level=after.access_level.value, sensitive=after.sensitive, version=version, updated_at=time.time()
        )
    )
    await tx.execute(OBJECT_GROUPS.delete().where(objects.groups_of(kind, owner, [object_id])))
    listed = [
        {"object_kind": kind, "owner_group": owner, "object_id": object_id, "effect": effect, "group_id": group}
        for effect, groups in (("allowed", after.allowed_groups), ("restricted", after.restricted_groups))
        for group in sorted(groups)
    ]
    if listed:
        await tx.execute(OBJECT_GROUPS.insert(), listed)
