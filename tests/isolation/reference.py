"""Who sees what, written down a second time: from the words of the specification, without a look at the code.

Slow and plain on purpose. It shares nothing with `domain.policy` but the names of the levels.
"""

from dataclasses import dataclass, field

RANKS = {"public": 0, "internal": 1, "confidential": 2}


@dataclass(frozen=True)
class Group:
    """A group of a made-up world; `parent` may lead in circles."""

    parent: str | None
    access_level: str
    admin_level: int


@dataclass(frozen=True)
class Ask:
    """A call: the user's direct memberships with their roles, his key's bounds, and what narrows the call."""

    roles: dict[str, int | None]
    bound: frozenset[str] = frozenset()
    context: str | None = None
    override: str | None = None


@dataclass(frozen=True)
class Thing:
    """A document or product."""

    id: str
    owner: str
    level: str
    allowed: frozenset[str]
    restricted: frozenset[str]
    sensitive: bool


@dataclass(frozen=True)
class View:
    """What counts for visibility: groups in force, effective groups, those that restrictions meet, and clearance."""

    direct: set[str]
    effective: set[str]
    full: set[str]
    clearance: str
    administers: set[str] = field(default_factory=set[str])

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


def view(world: dict[str, Group], ask: Ask) -> View | None:
    """What a call may see through, or None where it is refused."""
    members = {group for group in ask.roles if not ask.bound or group in ask.bound}
    if not members:
        return None
    administers = _administered(world, ask, members)
    full = _with_ancestors(world, set(ask.roles))
    direct = members
    if ask.override is not None:
        if ask.bound or ask.override not in administers:
            return None
        direct = {ask.override}
        full |= _with_ancestors(world, direct)
    effective = _with_ancestors(world, direct)
    if ask.context is not None:
        if ask.context not in effective:
            return None
        direct = direct & {ask.context}
        effective = _with_ancestors(world, {ask.context})
    levels = [world[group].access_level for group in direct]
    return View(direct, effective, full, max(levels, key=RANKS.__getitem__, default="public"), administers)


def _administered(world: dict[str, Group], ask: Ask, members: set[str]) -> set[str]:
    found = set[str]()
    for group in members:
        role, level = ask.roles[group], world[group].admin_level
        has = level if role is None or role > level else role
        if has == 3:
            return set(world)
        if has == 2:
            found |= {other for other in world if group in _with_ancestors(world, {other})}
    return found


def _with_ancestors(world: dict[str, Group], groups: set[str]) -> set[str]:
    while True:
        parents = {parent for group in groups if (parent := world[group].parent) is not None}
        if parents <= groups:
            return groups
        groups = groups | parents
