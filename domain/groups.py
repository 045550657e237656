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
    """One permission that membership of a group brings, and the group that wrote it down."""

    permission: str
    source: str
    kind: Literal["direct", "shared"]


class GroupPermissionsOutput(Contract):
    """Effective permissions of a group's direct members, and whether the caller is one."""

    group_id: str
    member: bool
    access_level: Level
    permissions: list[PermissionOrigin]
