"""Made-up worlds for property tests, and every kind of object that five groups can have."""

from itertools import chain, combinations, product

from hypothesis import strategies as st

from domain.policy import Level, ObjectAccess
from tests.isolation.reference import RANKS, Ask, Group, Thing

GROUPS = tuple("abcdefg")
OWNERS = GROUPS[:5]


def every_thing() -> list[Thing]:
    """Each owner, level, sensitivity, and each pair of lists of up to two groups: 7,680 objects."""
    lists = [frozenset(some) for some in chain.from_iterable(combinations(OWNERS, size) for size in (0, 1, 2))]
    return [
        Thing(f"t{number}", owner, level, allowed, restricted, sensitive)
        for number, (owner, level, sensitive, allowed, restricted) in enumerate(
            product(OWNERS, RANKS, (False, True), lists, lists)
        )
    ]


def access_of(thing: Thing) -> ObjectAccess:
    """The object as the policy takes it."""
    return ObjectAccess(
        owner_group=thing.owner,
        access_level=Level(thing.level),
        allowed_groups=thing.allowed,
        restricted_groups=thing.restricted,
        sensitive=thing.sensitive,
    )


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Group]:
    """Seven groups in trees, chains or circles."""
    parents = st.one_of(st.none(), st.sampled_from(GROUPS))
    return {
        group: Group(draw(parents), draw(st.sampled_from(list(RANKS))), draw(st.sampled_from([0, 1, 2, 2, 3])))
        for group in GROUPS
    }


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """A user, his key, and a call; context and override are mostly left out."""
    some = st.sampled_from(GROUPS)
    roles = draw(st.dictionaries(some, st.one_of(st.none(), st.integers(0, 3)), min_size=1, max_size=3))
    return Ask(
        roles=roles,
        bound=draw(
            st.one_of(
                st.just(frozenset[str]()),
                st.frozensets(st.sampled_from(sorted(roles)), min_size=1, max_size=2),
                st.frozensets(some, max_size=2),
            )
        ),
        context=draw(st.one_of(st.none(), st.none(), some)),
        override=draw(st.one_of(st.none(), some, st.sampled_from(sorted(roles)))),
    )


def telling_world() -> dict[str, Group]:
    """Two trees, a circle, and a platform group."""
    return {
        "a": Group(None, "internal", 2),
        "b": Group("a", "confidential", 0),
        "c": Group("b", "public", 0),
        "d": Group(None, "confidential", 0),
        "e": Group("f", "internal", 2),
        "f": Group("e", "public", 0),
        "g": Group(None, "public", 3),
    }


def telling_asks() -> list[Ask]:
    """Calls that each stand for one clause of the rule."""
    return [
        Ask({"c": None}),
        Ask({"c": None, "d": None}, context="a"),
        Ask({"c": None, "d": None}, bound=frozenset("c")),
        Ask({"a": None, "d": 0}, context="d"),
        Ask({"a": None}, override="c"),
        Ask({"a": 1}, override="c"),
        Ask({"a": None}, bound=frozenset("a"), override="b"),
        Ask({"g": None}, override="d"),
        Ask({"g": None}, override="b", context="a"),
        Ask({"f": None, "e": 2}),
    ]
