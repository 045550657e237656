"""Who may see what: the one rule, as data, so that every engine can be given the same one.

`visibility(principal)` builds the rule for one caller as a small tree of conditions over an object's access fields.
`matches` evaluates that tree in Python; `storage.policy_sql` and `storage.policy_lance` compile the same tree to a
SQL `WHERE` and to a LanceDB filter. Nothing else in the code decides visibility.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, assert_never

from domain.base import Contract

EVERY_GROUP = "*"
"""In a list of administered groups: all of them."""


class Level(StrEnum):
    """Access levels, lowest first."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"

    @property
    def rank(self) -> int:
        """0 for public, 1 for internal, 2 for confidential."""
        return tuple(Level).index(self)

    @classmethod
    def up_to(cls, highest: "Level") -> tuple["Level", ...]:
        """Every level that a clearance of `highest` reaches."""
        return tuple(level for level in cls if level.rank <= highest.rank)


class Grant(Contract):
    """One permission pattern and where it comes from.

    `group` is the direct membership that brings it; `source` the group that wrote it down (an ancestor's
    `shared_permissions` reach the members of its descendants).
    """

    permission: str
    group: str
    source: str
    kind: Literal["direct", "shared"]


class Principal(Contract):
    """One snapshot of a caller, as SQL had it: everything that a decision or a cache key needs.

    `direct` and `effective` are the groups in force after context, key and override have narrowed them; `closure` is
    the user's full closure plus the override's, which alone meets `restricted_groups`. `epochs` maps a scope
    (`group:acme`, `level:internal`, `policy`, `public`) to the number it had in the same snapshot.
    """

    user_id: str
    key_id: str
    direct: tuple[str, ...]
    effective: tuple[str, ...]
    closure: tuple[str, ...]
    clearance: Level
    grants: tuple[Grant, ...]
    scopes: tuple[str, ...] = ()
    administers: tuple[str, ...] = ()
    billing_group: str
    context: str | None = None
    override: str | None = None
    epochs: dict[str, int] = {}

    def may(self, permission: str) -> bool:
        """Whether some grant in force, and the key's scopes if it has any, allow `resource:action`."""
        granted = any(covers(grant.permission, permission) for grant in self.grants)
        return granted and (not self.scopes or any(covers(scope, permission) for scope in self.scopes))

    def may_in(self, group: str, permission: str) -> bool:
        """Whether `permission` reaches this caller through a direct membership of `group`."""
        return self.may(permission) and any(
            grant.group == group and covers(grant.permission, permission) for grant in self.grants
        )

    def administers_all(self) -> bool:
        """Whether this caller administers every group there is."""
        return EVERY_GROUP in self.administers

    def permissions(self) -> list[str]:
        """Effective permission patterns, sorted: grants met with the key's scopes."""
        return narrowed({grant.permission for grant in self.grants}, self.scopes)


def covers(pattern: str, permission: str) -> bool:
    """Whether `pattern` (`*` allowed for resource or action) covers `permission` or a narrower pattern."""
    resource, _, action = pattern.partition(":")
    wanted_resource, _, wanted_action = permission.partition(":")
    return resource in ("*", wanted_resource) and action in ("*", wanted_action)


def narrowed(patterns: Iterable[str], scopes: Collection[str]) -> list[str]:
    """What is left of `patterns` under a key with these scopes, sorted; no scopes narrow nothing."""
    if not scopes:
        return sorted(set(patterns))
    met = (meet(pattern, scope) for pattern in patterns for scope in scopes)
    return sorted({pattern for pattern in met if pattern})


def meet(one: str, other: str) -> str | None:
    """What two patterns have in common, or None."""
    parts: list[str] = []
    for left, right in zip(one.partition(":")[::2], other.partition(":")[::2], strict=True):
        if left != right and "*" not in (left, right):
            return None
        parts.append(right if left == "*" else left)
    return ":".join(parts)


class ObjectAccess(Contract):
    """The access fields that every document, product, model and deployment carries."""

    owner_group: str
    access_level: Level
    allowed_groups: frozenset[str] = frozenset()
    restricted_groups: frozenset[str] = frozenset()
    sensitive: bool = False


@dataclass(frozen=True)
class Owned:
    """The owner group is one of `groups`."""

    groups: frozenset[str]


@dataclass(frozen=True)
class Meets:
    """The object's list of `field` groups shares a member with `groups`."""

    field: Literal["allowed_groups", "restricted_groups"]
    groups: frozenset[str]


@dataclass(frozen=True)
class LevelIn:
    """The access level is one of `levels`."""

    levels: frozenset[Level]


@dataclass(frozen=True)
class Sensitive:
    """The object is marked sensitive."""


@dataclass(frozen=True)
class Not:
    """`term` does not hold."""

    term: "Condition"


@dataclass(frozen=True)
class All:
    """Every one of `terms` holds."""

    terms: tuple["Condition", ...]


@dataclass(frozen=True)
class Any:
    """At least one of `terms` holds."""

    terms: tuple["Condition", ...]


Condition = Owned | Meets | LevelIn | Sensitive | Not | All | Any


def visibility(principal: Principal) -> Condition:
    """The rule of visibility for one caller (`spec.md` section 2).

    Restriction is outermost, so that it overrides ownership, allowance and public alike; ownership does not ask for a
    level, because a group whose own level is public owns `internal` objects by default and must see them.
    """
    effective = frozenset(principal.effective)
    cleared = LevelIn(frozenset(Level.up_to(principal.clearance)))
    return All(
        (
            Not(Meets("restricted_groups", frozenset(principal.closure))),
            Any(
                (
                    All((Owned(effective), Not(Sensitive()))),
                    All((Meets("allowed_groups", effective), Not(Sensitive()), cleared)),
                    All((Meets("allowed_groups", frozenset(principal.direct)), Sensitive(), cleared)),
                    LevelIn(frozenset({Level.PUBLIC})),
                )
            ),
        )
    )


def matches(condition: Condition, access: ObjectAccess) -> bool:
    """Evaluate a condition tree on one object."""
    match condition:
        case Owned(groups):
            return access.owner_group in groups
        case Meets(field, groups):
            return not groups.isdisjoint(getattr(access, field))
        case LevelIn(levels):
            return access.access_level in levels
        case Sensitive():
            return access.sensitive
        case Not(term):
            return not matches(term, access)
        case All(terms):
            return all(matches(term, access) for term in terms)
        case Any(terms):
            return any(matches(term, access) for term in terms)
        case _:
            assert_never(condition)


def visible(principal: Principal, access: ObjectAccess) -> bool:
    """Whether this caller may see this object. Default deny."""
    return matches(visibility(principal), access)
