"""Contracts of administration: groups, members, users and keys.

Times in answers are ISO 8601, money is in US dollars.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from domain.base import Contract
from domain.policy import Level

Id = Annotated[str, Field(min_length=1, max_length=128)]
"""An id that names something which is there; a wrong one is answered like one that is not."""
NewGroupId = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
NewUserId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Pattern = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9_-]{0,63}):(\*|[a-z][a-z0-9_-]{0,63})$")]
Patterns = Annotated[list[Pattern], Field(max_length=64)]
Words = Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=64)]
AdminLevel = Annotated[int, Field(ge=0, le=3)]
Limit = Annotated[int, Field(ge=1, le=1_000_000_000)]
Budget = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Weight = Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)]

Clearable = Literal["parent", "requestsPerMinute", "tokensPerMinute", "parallel", "monthlyBudget"]


class GroupCreateInput(Contract):
    """Add a group below one that you administer. You cannot give it what you do not have yourself."""

    id: NewGroupId = Field(description="Lower-case letters, digits, - and _; it cannot be changed or used again later.")
    name: Name
    parent: Id | None = Field(
        default=None, description="The group above it; without one takes a platform administrator."
    )
    access_level: Level = Field(default=Level.INTERNAL, description="What its members are cleared for.")
    admin_level: AdminLevel = Field(
        default=0, description="What its members may administer: 0 nothing, 1 manager, 2 admin of it and below, 3 all."
    )
    permissions: Patterns = Field(default=[], description="For its direct members, such as products:read or models:*.")
    shared_permissions: Patterns = Field(default=[], description="For its direct members and those of groups below it.")
    weight: Weight = Field(default=1, description="Its share of capacity beside other groups.")
    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    parallel: Limit | None = None
    monthly_budget: Budget | None = Field(default=None, description="In US dollars; none of its own if left out.")
    providers: Words = Field(default=[], description="Routes by name, best first; the group above decides if empty.")
    models: Words = Field(default=[], description="The models that it may use; the group above decides if empty.")
    artifact_prefixes: Words = Field(default=[], description="Where its model artifacts may lie, such as s3://b/team/.")


class GroupUpdateInput(Contract):
    """Change a group that you administer, or move it. What is left out stays as it is; lists are replaced whole."""

    id: Id = Field(description="The group's id.")
    name: Name | None = None
    parent: Id | None = Field(default=None, description="Move it below this group; takes both ends.")
    access_level: Level | None = Field(default=None, description="What its members are cleared for.")
    admin_level: AdminLevel | None = Field(default=None, description="What its members may administer, 0 to 3.")
    permissions: Patterns | None = Field(default=None, description="For its direct members.")
    shared_permissions: Patterns | None = Field(default=None, description="For them and members of groups below it.")
    weight: Weight | None = Field(default=None, description="Its share of capacity beside other groups.")
    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    parallel: Limit | None = None
    monthly_budget: Budget | None = Field(default=None, description="In US dollars.")
    providers: Words | None = Field(default=None, description="Routes by name, best first.")
    models: Words | None = Field(default=None, description="The models that it may use.")
    artifact_prefixes: Words | None = Field(default=None, description="Where its model artifacts may lie.")
    clear: list[Clearable] = Field(default=[], max_length=8, description="Fields to leave without a value.")


class GroupOutput(Contract):
    """A group as its administrators see it."""

    id: str
    name: str
    parent: str | None
    access_level: Level
    admin_level: int
    permissions: list[str]
    shared_permissions: list[str]
    weight: float
    requests_per_minute: int | None
    tokens_per_minute: int | None
    parallel: int | None
    monthly_budget: float | None
    providers: list[str]
    models: list[str]
    artifact_prefixes: list[str]
    created_at: str


class GroupDeleteInput(Contract):
    """Delete an empty group, or one whose objects, child groups and members go to another group."""

    id: Id = Field(description="The group's id.")
    transfer_to: Id | None = Field(default=None, description="The group that gets what this one owns and holds.")


class GroupDeleteOutput(Contract):
    """What the deletion moved to `transferredTo`; all 0 where there was nothing to move."""

    id: str
    deleted: Literal[True] = True
    transferred_to: str | None
    documents: int
    products: int
    children: int
    members: int


class MembersInput(Contract):
    """List the direct members of a group that you administer."""

    id: Id = Field(description="The group's id.")
    limit: int = Field(default=50, ge=1, le=100, description="How many members a page has.")
    next_token: str | None = Field(default=None, max_length=4_096, description="From the page before.")


class MemberOutput(Contract):
    """A direct member. `role` is set where he has less than the group's admin level."""

    user_id: str
    name: str
    role: int | None
    admin_level: int
    disabled: bool
    since: str


class MembersOutput(Contract):
    """A page of direct members, by id."""

    group_id: str
    members: list[MemberOutput]


class MemberAddInput(Contract):
    """Make a user a direct member of a group that you administer, or give a member another role."""

    id: Id = Field(description="The group's id.")
    user_id: Id = Field(description="A user in one of your groups or in one that you administer.")
    role: AdminLevel | None = Field(
        default=None, description="The highest admin level that he is to have there; the group's own if left out."
    )


class MemberAddOutput(Contract):
    """The membership as it now is; `changed` is false where it was so already."""

    group_id: str
    user_id: str
    role: int | None
    admin_level: int
    changed: bool


class MemberRemoveInput(Contract):
    """End a user's direct membership of a group that you administer."""

    id: Id = Field(description="The group's id.")
    user_id: Id = Field(description="The member's id.")


class MemberRemoveOutput(Contract):
    """The membership that has ended."""

    group_id: str
    user_id: str
    removed: Literal[True] = True


class UserCreateInput(Contract):
    """Add a user as a member of a group that you administer."""

    id: NewUserId = Field(description="It cannot be changed, or used again after the user was deleted.")
    name: Name | None = Field(default=None, description="The id if left out.")
    primary_group: Id = Field(description="His first group, which pays where a call names none.")
    role: AdminLevel | None = Field(default=None, description="As in groups_add_member.")


class UserInput(Contract):
    """One user, all of whose groups you administer."""

    id: Id = Field(description="The user's id.")


class UserOutput(Contract):
    """A user as administrators of all his groups see him."""

    id: str
    name: str
    primary_group: str
    groups: list[str]
    disabled: bool
    created_at: str


class UserDeleteOutput(Contract):
    """The user is gone, with his memberships and keys."""

    id: str
    deleted: Literal[True] = True
    keys: int


class KeyCreateInput(Contract):
    """Make an API key, for yourself or for a user whom you administer. It never widens its user, nor you."""

    user_id: Id | None = Field(default=None, description="Yours if left out.")
    name: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = ""
    groups: list[Id] = Field(
        default=[], max_length=64, description="Bind it to these of the user's direct groups; to none if left out."
    )
    scopes: Patterns = Field(default=[], description="Permissions to which it is narrowed, such as products:read.")
    expires_in_seconds: int | None = Field(
        default=None, ge=1, le=3_650 * 86_400, description="It does not expire if left out."
    )


class KeysListInput(Contract):
    """List your keys and those that you administer. Tokens are never shown again."""

    user_id: Id | None = Field(default=None, description="Only this user's.")
    limit: int = Field(default=50, ge=1, le=100, description="How many keys a page has.")
    next_token: str | None = Field(default=None, max_length=4_096, description="From the page before.")


class KeyOutput(Contract):
    """A key without its token. An empty list of groups or scopes binds it to nothing."""

    id: str
    user_id: str
    name: str
    groups: list[str]
    scopes: list[str]
    state: Literal["active", "expired", "revoked"]
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class KeysListOutput(Contract):
    """A page of keys, by id."""

    keys: list[KeyOutput]


class KeyMadeOutput(Contract):
    """A new key. `token` is what its user sends; it is shown only now."""

    key: KeyOutput
    token: str


class KeyRotateInput(Contract):
    """Replace a key by a new one with the same user, bounds and expiry."""

    id: Id = Field(description="The key's id: the 16 digits after cohort_ in its token.")
    overlap_seconds: int = Field(
        default=0, ge=0, le=30 * 86_400, description="How long the old key stays valid beside the new one."
    )


class KeyRotatedOutput(Contract):
    """The new key with its token, shown only now, and the old one with the end of its time."""

    key: KeyOutput
    token: str
    replaces: KeyOutput


class KeyInput(Contract):
    """One key, yours or one that you administer."""

    id: Id = Field(description="The key's id: the 16 digits after cohort_ in its token.")


class AccessInput(Contract):
    """Change who may see an object of a group in which you may write. What is left out stays as it is."""

    id: Id = Field(description="The object's id.")
    owner_group: str | None = Field(default=None, max_length=64, description="Whose object, if two share the id.")
    access_level: Level | None = Field(default=None, description="public takes objects:publish in its group.")
    allowed_groups: list[Id] | None = Field(
        default=None, max_length=64, description="Groups that may see it besides its own; replaces those you may name."
    )
    restricted_groups: list[Id] | None = Field(
        default=None,
        max_length=64,
        description="Groups that may not, whatever else holds; replaces those you may name.",
    )
    sensitive: bool | None = Field(
        default=None, description="Whether only direct members of allowed groups may see it."
    )


class AccessOutput(Contract):
    """Who may see the object now. Groups that you may not name are kept and not shown."""

    id: str
    owner_group: str
    access_level: Level
    allowed_groups: list[str]
    restricted_groups: list[str]
    sensitive: bool
    version: int
    changed: bool
