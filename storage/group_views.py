"""What callers see of groups: those they are in, and what membership of one brings."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import not_found
from domain.groups import GroupPermissionsOutput, GroupSummary, PermissionOrigin
from domain.ids import GROUP_ID
from domain.policy import Principal, narrowed
from storage import hierarchy
from storage.tables import MEMBERSHIPS


async def summaries(tx: AsyncConnection, principal: Principal) -> list[GroupSummary]:
    """The caller's groups in force: direct ones with what they bring, then the ancestors, each by id."""
    world = await hierarchy.load(tx, above=principal.effective)
    statement = select(MEMBERSHIPS.c.group_id, MEMBERSHIPS.c.role).where(MEMBERSHIPS.c.user_id == principal.user_id)
    roles: dict[str, int | None] = {row.group_id: row.role for row in await tx.execute(statement)}
    found: list[GroupSummary] = []
    for group in sorted(principal.effective, key=lambda group: (group not in principal.direct, group)):
        state, direct = world.groups[group], group in principal.direct
        found.append(
            GroupSummary(
                id=group,
                name=state.name,
                parent=state.parent,
                direct=direct,
                access_level=state.access_level,
                admin_level=state.level_of(roles.get(group)) if direct else 0,
                permissions=_brought_by(principal, group),
            )
        )
    return found


async def permissions(tx: AsyncConnection, principal: Principal, group_id: str) -> GroupPermissionsOutput:
    """What membership of a group brings, and where each permission comes from.

    Raises:
        CohortError: `not_found`, alike for a group that does not exist and for one that is none of the caller's.
    """
    world = await hierarchy.load(tx, above=[group_id] if GROUP_ID.fullmatch(group_id) else [])
    mine = group_id in principal.effective or group_id in principal.administers or principal.administers_all()
    if group_id not in world.groups or not mine:
        raise not_found("group")
    state, direct = world.groups[group_id], group_id in principal.direct
    place = (MEMBERSHIPS.c.user_id == principal.user_id, MEMBERSHIPS.c.group_id == group_id)
    membership = (await tx.execute(select(MEMBERSHIPS.c.role).where(*place))).first()
    return GroupPermissionsOutput(
        group_id=group_id,
        member=direct,
        access_level=state.access_level,
        admin_level=state.admin_level,
        your_admin_level=state.level_of(membership.role) if direct and membership is not None else 0,
        administered=group_id in principal.administers or principal.administers_all(),
        permissions=[
            PermissionOrigin(
                permission=grant.permission,
                source=grant.source,
                kind=grant.kind,
                yours=narrowed([grant.permission], principal.scopes) if direct else [],
            )
            for grant in world.grants(group_id)
        ],
    )


def _brought_by(principal: Principal, group: str) -> list[str]:
    own = principal.model_copy(update={"grants": tuple(grant for grant in principal.grants if grant.group == group)})
    return own.permissions()
