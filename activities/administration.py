"""Which change each administrative operation is, and what follows it outside SQL."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from activities.inputs import input_of
from domain.administration import (
    AccessInput,
    GroupCreateInput,
    GroupDeleteInput,
    GroupUpdateInput,
    KeyCreateInput,
    KeyInput,
    KeyRotateInput,
    MemberAddInput,
    MemberRemoveInput,
    UserCreateInput,
    UserInput,
)
from domain.calls import Call, Outcome
from domain.errors import CohortError, ErrorCode, internal
from storage.administration import access, group_changes, group_deletion, keys, members, people
from storage.administration.change import Change
from storage.policy_sql import ObjectKind
from storage.reindexing import Reindexer

_KINDS: dict[str, ObjectKind] = {"documents_access": "document", "products_access": "product"}
_AGAIN = {
    **dict.fromkeys(_KINDS, "Send the same request again to have it follow."),
    "groups_delete": "Ingest the same files again for the group that has them now to have it follow.",
}
"""What makes the vector copy follow, where it could not at once."""


async def carry_out(tx: AsyncConnection, call: Call, pepper: bytes) -> Change:
    """Make the change that a call asks for, in the caller's transaction.

    Raises:
        CohortError: it may not be made, and nothing was.
    """
    who = call.caller
    match call.operation:
        case "groups_create":
            return await group_changes.create(tx, who, input_of(call, GroupCreateInput))
        case "groups_update":
            return await group_changes.change(tx, who, input_of(call, GroupUpdateInput))
        case "groups_delete":
            return await group_deletion.remove(tx, who, input_of(call, GroupDeleteInput))
        case "groups_add_member":
            return await members.add(tx, who, input_of(call, MemberAddInput))
        case "groups_remove_member":
            return await members.remove(tx, who, input_of(call, MemberRemoveInput))
        case "users_create":
            return await people.create(tx, who, input_of(call, UserCreateInput))
        case "users_disable":
            return await people.disable(tx, who, input_of(call, UserInput))
        case "users_enable":
            return await people.enable(tx, who, input_of(call, UserInput))
        case "users_delete":
            return await people.remove(tx, who, input_of(call, UserInput))
        case "keys_create":
            return await keys.create(tx, who, input_of(call, KeyCreateInput), pepper)
        case "keys_rotate":
            return await keys.rotate(tx, who, input_of(call, KeyRotateInput), pepper)
        case "keys_revoke":
            return await keys.revoke(tx, who, input_of(call, KeyInput))
        case "documents_access" | "products_access":
            return await access.change(tx, _KINDS[call.operation], who, input_of(call, AccessInput))
        case _:
            raise internal()


class Follow:
    """Brings the vector copy in line after a change, and after each repetition of one."""

    def __init__(self, reindexer: Reindexer) -> None:
        self._reindexer = reindexer

    async def after(self, operation: str, given: Mapping[str, Any], outcome: Outcome) -> None:
        """Do what the change has left to do; to be repeated freely.

        Raises:
            CohortError: `provider_unavailable`: the change holds, only searches do not know of it yet.
        """
        data = outcome.data or {}
        try:
            if operation in _KINDS:
                await self._reindexer.access(_KINDS[operation], data["ownerGroup"], data["id"], data["version"])
            elif operation == "groups_delete" and given.get("transfer_to"):
                await self._reindexer.transfer(str(given["id"]), str(given["transfer_to"]))
        except (RuntimeError, OSError, ValueError) as error:
            raise CohortError(
                ErrorCode.PROVIDER_UNAVAILABLE,
                "The change was made and holds, but the search index could not follow: until it does, searches may "
                f"find less, never more. {_AGAIN[operation]}",
                retryable=operation in _KINDS,
            ) from error
