"""An outside oracle: the rule of visibility in Cedar's own language, over Cedar's own hierarchy.

Cedar finds ancestors, meets lists and lets forbid win by itself; from the test it gets who is a member of what, and
what a call narrows. Its hierarchies must not have circles, so each group has a seat: to sit below a group is to be in
it and in all above it, and the groups of a circle share one seat.
"""

import json
from collections.abc import Sequence
from typing import Any

import cedarpy

from tests.isolation.reference import RANKS, Ask, Group, Ref, Thing, with_ancestors

POLICIES = """
@id("owner group is effective and the object is not sensitive")
permit(principal, action == Action::"see", resource)
when { !resource.sensitive && principal in resource.owner };

@id("allowed groups meet the effective groups and the level is within clearance")
permit(principal, action == Action::"see", resource)
when { !resource.sensitive && principal in resource.allowed && resource.level <= principal.clearance };

@id("allowed groups meet the direct groups, if sensitive")
permit(principal, action == Action::"see", resource)
when { resource.sensitive && principal.direct.containsAny(resource.allowed) && resource.level <= principal.clearance };

@id("the object is public")
permit(principal, action == Action::"see", resource)
when { resource.level == 0 };

@id("restricted groups meet the full closure, or the override's, whatever narrows")
forbid(principal, action == Action::"see", resource)
when { principal.person in resource.restricted };
"""
_POLICIES = cedarpy.PolicySet.from_str(POLICIES)


class Cedar:
    """Holds objects, and decides on the calls of one world after the other."""

    def __init__(self, things: Sequence[Thing]) -> None:
        self._things = cedarpy.Entities.from_json_str(json.dumps([_thing(thing) for thing in things]))

    def seen(
        self, world: dict[str, Group], asked: Sequence[tuple[Ask, Sequence[Thing]]], new: Sequence[Thing]
    ) -> list[set[Ref]]:
        """Which of its things each call may see; `new` are this world's own. No call may be one that is refused."""
        entities = [_thing(thing) for thing in new]
        entities += [entity for group in world for entity in _group(world, group)]
        entities += [entity for number, (ask, _) in enumerate(asked) for entity in _call(world, ask, number)]
        known = self._things.with_added_json_str(json.dumps(entities))
        requests = [
            {
                "principal": {"type": "Call", "id": str(number)},
                "action": {"type": "Action", "id": "see"},
                "resource": {"type": "Thing", "id": _name(thing)},
            }
            for number, (_, things) in enumerate(asked)
            for thing in things
        ]
        decisions = iter(cedarpy.is_authorized_batch(requests, _POLICIES, known))
        found: list[set[Ref]] = []
        for _, things in asked:
            refs = set[Ref]()
            for thing in things:
                decision = next(decisions)
                assert not decision.diagnostics.errors, decision.diagnostics.errors
                if decision.allowed:
                    refs.add(thing.ref)
            found.append(refs)
        return found


def _thing(thing: Thing) -> dict[str, Any]:
    attributes = {
        "owner": _to("Group", thing.owner),
        "level": RANKS[thing.level],
        "sensitive": thing.sensitive,
        "allowed": [_to("Group", group) for group in sorted(thing.allowed)],
        "restricted": [_to("Group", group) for group in sorted(thing.restricted)],
    }
    return _entity("Thing", _name(thing), attributes)


def _group(world: dict[str, Group], group: str) -> list[dict[str, Any]]:
    """A group, and its seat unless another group of its circle has that."""
    parent, seat = world[group].parent, _seat(world, group)
    entities = [_entity("Group", group)]
    if seat != group:
        return entities
    circle = [other for other in world if _seat(world, other) == seat]
    above = [] if parent is None or parent in circle else [_uid("Seat", _seat(world, parent))]
    return [*entities, _entity("Seat", seat, parents=[*(_uid("Group", one) for one in circle), *above])]


def _call(world: dict[str, Group], ask: Ask, number: int) -> list[dict[str, Any]]:
    """The person with all memberships, and the call with those in force."""
    members = set(ask.roles)
    acting = {ask.override} if ask.override else members & ask.bound if ask.bound else members
    roots, direct = ({ask.context}, acting & {ask.context}) if ask.context else (acting, acting)
    person = members | {ask.override} if ask.override else members
    attributes = {
        "person": _to("Person", str(number)),
        "direct": [_to("Group", group) for group in sorted(direct)],
        "clearance": max((RANKS[world[group].access_level] for group in direct), default=0),
    }
    return [
        _entity("Person", str(number), parents=_seats(world, person)),
        _entity("Call", str(number), attributes, _seats(world, roots)),
    ]


def _seat(world: dict[str, Group], group: str) -> str:
    """The first of the groups that are above this one and below it at once."""
    above = with_ancestors(world, {group})
    return min(other for other in above if group in with_ancestors(world, {other}))


def _seats(world: dict[str, Group], groups: set[str]) -> list[dict[str, str]]:
    return [_uid("Seat", seat) for seat in sorted({_seat(world, group) for group in groups})]


def _name(thing: Thing) -> str:
    return "/".join(thing.ref)


def _uid(kind: str, id: str) -> dict[str, str]:
    return {"type": kind, "id": id}


def _to(kind: str, id: str) -> dict[str, Any]:
    return {"__entity": _uid(kind, id)}


def _entity(
    kind: str, id: str, attributes: dict[str, Any] | None = None, parents: Sequence[dict[str, str]] = ()
) -> dict[str, Any]:
    return {"uid": _uid(kind, id), "attrs": attributes or {}, "parents": list(parents)}
