"""Groups: delete, alone or with a transfer of what they own and hold."""

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.administration import GroupDeleteInput, GroupDeleteOutput
from domain.calls import Caller
from domain.errors import CohortError, ErrorCode, invalid
from storage import authority as authorities
from storage import epochs, retired
from storage.administration import transfer
from storage.administration.change import Change, administered
from storage.authority import GROUPS_ADMIN, Authority, Conferred
from storage.hierarchy import GroupState
from storage.tables import GROUPS


async def remove(tx: AsyncConnection, caller: Caller, asked: GroupDeleteInput) -> Change:
    """Delete a group; its id is never used again.

    Raises:
        CohortError: `not_found`, `invalid_argument`, `forbidden`, or `conflict` with what it still owns and holds;
            nothing was changed.
    """
    target = asked.transfer_to
    authority = await authorities.read(tx, caller, [one for one in (asked.id, target) if one is not None])
    group = authority.group(GROUPS_ADMIN, asked.id)
    # Writers of objects of either group wait, and find the group gone.
    both = [one for one in (asked.id, target) if one is not None]
    await tx.execute(select(GROUPS.c.id).where(GROUPS.c.id.in_(both)).order_by(GROUPS.c.id).with_for_update())
    held = await transfer.held(tx, asked.id)
    if held and target is None:
        raise _in_use(held)
    if target is not None:
        await _transfer(tx, authority, group, target, held)
    await tx.execute(delete(GROUPS).where(GROUPS.c.id == asked.id))
    await retired.retire(tx, "group", asked.id)
    await epochs.bump(tx, [epochs.POLICY, epochs.of_group(asked.id)])
    output = GroupDeleteOutput(
        id=asked.id,
        transferred_to=target,
        documents=held.get("documents", 0),
        products=held.get("products", 0),
        children=held.get("children", 0),
        members=held.get("members", 0),
    )
    facts = {"type": "groups.deleted", "transferredTo": target}
    reason = f"transferred to {target}: {held}" if target is not None else ""
    return Change(output, f"group:{asked.id}", reason, facts, administered(target) if target is not None else ())


async def _transfer(
    tx: AsyncConnection, authority: Authority, group: GroupState, target: str, held: dict[str, int]
) -> None:
    if not authority.may(GROUPS_ADMIN, target):
        raise invalid(("transferTo", "there is no such group, or you do not administer it"))
    if group.id in authority.world.closure([target]):
        raise invalid(("transferTo", "is the group itself or a group below it: move that one first"))
    if "members" in held:
        # Each keeps at most the admin level that he has, which is over another group now.
        authority.check(GROUPS_ADMIN, authority.membership(target, group.admin_level), target)
    if "children" in held:
        gained = authority.world.closure([target]) - authority.world.closure([group.id])
        shared = {grant.permission for grant in authority.world.shared(gained, group.id)}
        authority.check(GROUPS_ADMIN, Conferred(permissions=shared), target)
    await transfer.objects(tx, group.id, target)
    await transfer.children(tx, group.id, target)
    await transfer.people(tx, group, authority.world.groups[target])


def _in_use(held: dict[str, int]) -> CohortError:
    words = {"children": "child groups"}
    said = ", ".join(_counted(count, words.get(kind, kind)) for kind, count in held.items())
    return CohortError(
        ErrorCode.CONFLICT,
        f"The group still has {said}, and nothing was changed. Delete or move these first, or name another group in "
        "transferTo that is to get them.",
        details=dict(held),
    )


def _counted(count: int, words: str) -> str:
    return f"{count:,} {words.removesuffix('s') if count == 1 else words}"
