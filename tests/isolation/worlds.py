"""Made-up worlds for property tests, and every kind of object that five groups can have."""

import random
from collections import Counter
from collections.abc import Iterable
from itertools import product

from hypothesis import strategies as st

from domain.policy import Level, ObjectAccess
from tests.isolation.reference import RANKS, Ask, Group, Kind, Ref, Thing, View, with_ancestors

GROUPS = tuple("abcdefg")
OWNERS = GROUPS[:5]
KINDS: tuple[Kind, ...] = ("document", "product")
PERMISSIONS = ("models:read", "models:deploy", "products:read", "products:write")
_PATTERNS = (*PERMISSIONS, "models:*", "*:read", "*:*")
_NOWHERE = "unheard-of"
"""A group that no world has: lists may name it, nobody is in it."""


def every_thing() -> list[Thing]:
    """Each owner, level, sensitivity and pair of lists of at most one group, and some of longer lists: 1,200 objects.

    Ids are used again under each owner and for both kinds, so that whoever mixes these up sees the wrong lists.
    """
    chance = random.Random(20)
    short = [frozenset[str](), *(frozenset({group}) for group in OWNERS)]
    numbers = Counter[tuple[Kind, str]]()

    def thing(owner: str, level: str, sensitive: bool, allowed: frozenset[str], restricted: frozenset[str]) -> Thing:
        kind = chance.choice(KINDS)
        numbers[kind, owner] += 1
        return Thing(kind, f"t{numbers[kind, owner]}", owner, level, allowed, restricted, sensitive)

    def long(sizes: tuple[int, ...]) -> frozenset[str]:
        return frozenset(chance.sample((*GROUPS, _NOWHERE), chance.choice(sizes)))

    things = [thing(*one) for one in product(OWNERS, RANKS, (False, True), short, short)]
    for _ in range(120):
        one = chance.choice(OWNERS), chance.choice(list(RANKS)), chance.random() < 0.5
        things.append(thing(*one, long((0, 2, 3, 5)), long((0, 0, 2, 3))))
    return things


def access_of(thing: Thing) -> ObjectAccess:
    """The object as the policy takes it."""
    return ObjectAccess(
        owner_group=thing.owner,
        access_level=Level(thing.level),
        allowed_groups=thing.allowed,
        restricted_groups=thing.restricted,
        sensitive=thing.sensitive,
    )


def grouped(things: Iterable[Thing]) -> dict[tuple[Kind, str], list[Thing]]:
    """By kind and owner, as they are stored."""
    found: dict[tuple[Kind, str], list[Thing]] = {}
    for thing in things:
        found.setdefault((thing.kind, thing.owner), []).append(thing)
    return found


def refs_of(things: Iterable[Thing]) -> set[Ref]:
    return {thing.ref for thing in things}


@st.composite
def new_things(draw: st.DrawFn) -> list[Thing]:
    """A few objects besides `every_thing`, whose lists may be of any length."""
    lists = st.frozensets(st.sampled_from((*GROUPS, _NOWHERE)))
    return [
        Thing(
            draw(st.sampled_from(KINDS)),
            f"new{number}",
            draw(st.sampled_from(GROUPS)),
            draw(st.sampled_from(list(RANKS))),
            draw(lists),
            draw(st.one_of(st.just(frozenset[str]()), lists)),
            draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 6)))
    ]


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Group]:
    """Seven groups in trees, chains or circles."""
    parents = st.one_of(st.none(), st.sampled_from(GROUPS))
    some = st.lists(st.sampled_from(_PATTERNS), max_size=2).map(tuple)
    return {
        group: Group(
            draw(parents),
            draw(st.sampled_from(list(RANKS))),
            draw(st.sampled_from([0, 1, 2, 2, 3])),
            draw(some),
            draw(some),
        )
        for group in GROUPS
    }


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """A user, his key, and a call; what refuses the call is mostly left out."""
    some = st.sampled_from(GROUPS)
    roles = draw(st.dictionaries(some, st.one_of(st.none(), st.integers(0, 3)), min_size=1, max_size=3))
    bounds = st.one_of(
        st.frozensets(st.sampled_from(sorted(roles)), min_size=1, max_size=2), st.frozensets(some, max_size=2)
    )
    rarely = draw(st.integers(0, 9))
    return Ask(
        roles=roles,
        bound=draw(bounds) if draw(st.integers(0, 2)) == 0 else frozenset(),
        scopes=draw(st.lists(st.sampled_from(_PATTERNS), max_size=2).map(tuple)),
        context=draw(st.one_of(st.none(), st.none(), some, st.sampled_from(sorted(roles)))),
        override=draw(st.one_of(st.none(), st.none(), some, st.sampled_from(sorted(roles)))),
        ended=draw(st.sampled_from(["disabled", "expired", "revoked"])) if rarely == 9 else None,
    )


def telling_world() -> dict[str, Group]:
    """Two trees, a circle, and a platform group."""
    return {
        "a": Group(None, "internal", 2, shared=("models:read",)),
        "b": Group("a", "confidential", 0, permissions=("models:*",)),
        "c": Group("b", "public", 0),
        "d": Group(None, "confidential", 0, permissions=("*:read",)),
        "e": Group("f", "internal", 2),
        "f": Group("e", "public", 0, shared=("products:write",)),
        "g": Group(None, "public", 3, permissions=("*:*",)),
    }


def telling_asks() -> list[Ask]:
    """Calls that each stand for one clause of the rule."""
    return [
        Ask({"c": None}),
        Ask({"c": None, "d": None}, context="a"),
        Ask({"c": None, "d": None}, context="d"),
        Ask({"c": None, "d": None}, bound=frozenset("c")),
        Ask({"c": None, "d": None}, bound=frozenset("e")),
        Ask({"c": None}, context="d"),
        Ask({"a": None, "d": 0}, context="d"),
        Ask({"b": None, "d": None}, scopes=("models:read", "products:*")),
        Ask({"a": None}, override="c"),
        Ask({"a": 1}, override="c"),
        Ask({"a": None}, bound=frozenset("a"), override="b"),
        Ask({"g": None}, override="d"),
        Ask({"g": None}, override="b", context="a"),
        Ask({"f": None, "e": 2}),
        *(Ask({"b": None, "d": None}, ended=ended) for ended in ("disabled", "expired", "revoked")),
    ]


FEATURES = frozenset(
    {
        *("disabled", "expired", "revoked", "refused context", "refused override", "key without a group"),
        *("context", "context of an ancestor", "override", "bound key", "scopes", "role below the group's"),
        *("several groups", "circle of parents"),
    }
)
"""What every run must have met."""


def features_of(world: dict[str, Group], ask: Ask, seen: View | str) -> set[str]:
    """Which of `FEATURES` a call has."""
    if isinstance(seen, str):
        return {ask.ended or _refusal(ask)}
    direct, chain = ask.context in ask.roles, with_ancestors(world, set(ask.roles))
    held = {
        "context": ask.context is not None and direct,
        "context of an ancestor": ask.context is not None and not seen.direct,
        "override": ask.override is not None,
        "bound key": bool(ask.bound),
        "scopes": bool(ask.scopes),
        "role below the group's": any(
            role is not None and role < world[group].admin_level for group, role in ask.roles.items()
        ),
        "several groups": len(seen.direct) > 1,
        "circle of parents": any(
            (parent := world[group].parent) is not None and group in with_ancestors(world, {parent}) for group in chain
        ),
    }
    return {name for name, holds in held.items() if holds}


def _refusal(ask: Ask) -> str:
    if ask.bound and ask.bound.isdisjoint(ask.roles):
        return "key without a group"
    return "refused override" if ask.override is not None else "refused context"
