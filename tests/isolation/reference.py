"""Who sees and may do what, written down a second time: from the words of the specification, without the code.

Slow and plain on purpose. It shares nothing with `domain.policy` but the names of the levels.
"""

from dataclasses import dataclass, field
from typing import Literal

RANKS = {"public": 0, "internal": 1, "confidential": 2}
Kind = Literal["document", "product"]
Ref = tuple[Kind, str, str]
"""An object: its kind, its owner group and its id there."""


@dataclass(frozen=True)
class Group:
    """A group of a made-up world; `parent` may lead in circles."""

    parent: str | None
    access_level: str
    admin_level: int
    permissions: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ask:
    """A call: the user's direct memberships with their roles, his key's bounds and state, and what narrows the call."""

    roles: dict[str, int | None]
    bound: frozenset[str] = frozenset()
    scopes: tuple[str, ...] = ()
    context: str | None = None
    override: str | None = None
    ended: Literal["disabled", "expired", "revoked"] | None = None


@dataclass(frozen=True)
class Thing:
    """A document or product."""

    kind: Kind
    id: str
    owner: str
    level: str
    allowed: frozenset[str]
    restricted: frozenset[str]
    sensitive: bool

    @property
    def ref(self) -> Ref:
        return self.kind, self.owner, self.id


@dataclass(frozen=True)
class View:
    """What counts: groups in force, effective groups, those that restrictions meet, clearance, rights."""

    direct: set[str]
    effective: set[str]
    full: set[str]
    clearance: str
    administers: set[str] = field(default_factory=set[str])
    grants: frozenset[str] = frozenset()
    scopes: tuple[str, ...] = ()

    def sees(self, thing: Thing) -> bool:
        """The rule of visibility."""
        if thing.restricted & self.full:
            return False
        if thing.level == "public":
            return True
        if thing.owner in self.effective and not thing.sensitive:
            return True
        meets = thing.allowed & (self.direct if thing.sensitive else self.effective)
        return bool(meets) and RANKS[thing.level] <= RANKS[self.clearance]

    def may(self, permission: str) -> bool:
        """Whether a group in force grants it and no scope of the key leaves it out."""
        granted = any(_allows(grant, permission) for grant in self.grants)
        return granted and (not self.scopes or any(_allows(scope, permission) for scope in self.scopes))


def view(world: dict[str, Group], ask: Ask) -> View | str:
    """What a call may see through, or the error with which it is refused."""
    if ask.ended is not None:
        return "unauthenticated"
    members = {group for group in ask.roles if not ask.bound or group in ask.bound}
    if not members:
        return "forbidden"
    administers = _administered(world, ask, members)
    full = with_ancestors(world, set(ask.roles))
    direct = members
    if ask.override is not None:
        if ask.bound or ask.override not in administers:
            return "forbidden"
        direct = {ask.override}
        full |= with_ancestors(world, direct)
    effective = with_ancestors(world, direct)
    if ask.context is not None:
        if ask.context not in effective:
            return "forbidden"
        direct = direct & {ask.context}
        effective = with_ancestors(world, {ask.context})
    levels = [world[group].access_level for group in direct]
    own = {permission for group in direct for permission in world[group].permissions}
    shared = {permission for group in effective for permission in world[group].shared}
    clearance = max(levels, key=RANKS.__getitem__, default="public")
    return View(direct, effective, full, clearance, administers, frozenset(own | shared), ask.scopes)


def with_ancestors(world: dict[str, Group], groups: set[str]) -> set[str]:
    """The groups and all above them."""
    while True:
        parents = {parent for group in groups if (parent := world[group].parent) is not None}
        if parents <= groups:
            return groups
        groups = groups | parents


def _administered(world: dict[str, Group], ask: Ask, members: set[str]) -> set[str]:
    found = set[str]()
    for group in members:
        role, level = ask.roles[group], world[group].admin_level
        has = level if role is None or role > level else role
        if has == 3:
            return set(world)
        if has == 2:
            found |= {other for other in world if group in with_ancestors(world, {other})}
    return found


def _allows(pattern: str, permission: str) -> bool:
    return all(one in ("*", other) for one, other in zip(pattern.split(":"), permission.split(":"), strict=True))
