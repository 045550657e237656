"""Contracts of groups and permissions."""

from typing import Literal

from pydantic import Field

from domain.base import Contract
from domain.policy import Level


class GroupsListInput(Contract):
    """List the groups that you are in, directly or through a parent, and what each lets you do."""


class GroupSummary(Contract):
    """One effective group. `permissions` are those that this membership brings; empty for an ancestor."""

    id: str
    name: str
    parent: str | None
    direct: bool
    access_level: Level
    admin_level: int
    permissions: list[str]


class GroupsListOutput(Contract):
    """The caller's groups in force."""

    user_id: str
    groups: list[GroupSummary]


class GroupPermissionsInput(Contract):
    """Show which permissions a group gives, and where each comes from."""

    id: str = Field(min_length=1, max_length=64, description="The group's id, from groups_list.")


class PermissionOrigin(Contract):
    """One permission that membership of a group brings, and the group that wrote it down.

    `yours` is what of it reaches you here: nothing where you are no direct member in force, less than all where the
    scopes of your key are narrower.
    """

    permission: str
    source: str
    kind: Literal["direct", "shared"]
    yours: list[str]


class GroupPermissionsOutput(Contract):
    """Effective permissions of a group's direct members, and whether the caller is one.

    `admin_level` is the group's own, `your_admin_level` yours in it (0 to 3), which a role can lower; `administered`
    says whether you administer the group, through it or through one above.
    """

    group_id: str
    member: bool
    access_level: Level
    admin_level: int
    your_admin_level: int
    administered: bool
    permissions: list[PermissionOrigin]
