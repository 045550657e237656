"""Walks through a hierarchy end, whatever it looks like, and say the same up and down; grants follow them."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.policy import Grant, Level, Principal, covers, meet
from storage.hierarchy import GroupState, Hierarchy
from tests.support.proofs import PROPERTIES

IDS = tuple("abcdef")
PERMISSIONS = tuple(f"{resource}:{action}" for resource in ("models", "products") for action in ("read", "write"))
patterns = st.sampled_from((*PERMISSIONS, "models:*", "*:read", "*:*"))
some = st.frozensets(st.sampled_from((*IDS, "unheard-of")))
thorough = settings.get_profile(PROPERTIES)


@st.composite
def hierarchies(draw: st.DrawFn) -> Hierarchy:
    """Trees, chains, circles, and parents that are not there."""
    parents = {id: draw(st.one_of(st.none(), st.sampled_from((*IDS, "unheard-of")))) for id in IDS}
    children: defaultdict[str, list[str]] = defaultdict(list)
    for id, parent in parents.items():
        if parent is not None:
            children[parent].append(id)
    groups = {
        id: GroupState(
            id=id,
            name=id,
            parent=parent,
            admin_level=0,
            access_level=Level.INTERNAL,
            permissions=(),
            shared_permissions=tuple(draw(st.lists(patterns, max_size=1))),
            epoch=0,
        )
        for id, parent in parents.items()
    }
    return Hierarchy(groups, {parent: tuple(ids) for parent, ids in children.items()}, {})


@thorough
@given(hierarchies(), some, some)
def test_a_closure_holds_its_roots_and_nothing_is_above_it(
    world: Hierarchy, roots: frozenset[str], more: frozenset[str]
) -> None:
    closure = world.closure(roots)
    assert roots & world.groups.keys() <= closure <= world.groups.keys()
    assert {world.groups[id].parent for id in closure} & world.groups.keys() <= closure
    assert world.closure(closure) == closure
    assert closure <= world.closure(roots | more)
    assert world.closure(roots | more) == closure | world.closure(more)


@thorough
@given(hierarchies(), some)
def test_what_is_below_is_what_the_others_are_above(world: Hierarchy, roots: frozenset[str]) -> None:
    below = world.below(roots)
    assert below == {id for id in world.groups if not world.closure([id]).isdisjoint(roots)}
    assert world.below(below) == below


@thorough
@given(hierarchies(), st.sampled_from(IDS))
def test_shared_permissions_reach_exactly_the_descendants(world: Hierarchy, group: str) -> None:
    sources = {grant.source for grant in world.grants(group)}
    assert sources == {id for id in world.closure([group]) if world.groups[id].shared_permissions}


@thorough
@given(patterns, patterns, st.sampled_from(PERMISSIONS))
def test_two_patterns_meet_in_what_both_cover(one: str, other: str, permission: str) -> None:
    both = meet(one, other)
    assert both == meet(other, one)
    assert (both is not None and covers(both, permission)) == (covers(one, permission) and covers(other, permission))


@thorough
@given(st.lists(patterns, max_size=3), st.lists(patterns, max_size=3), st.sampled_from(PERMISSIONS))
def test_scopes_only_take_away_and_are_told_as_they_are(granted: list[str], scopes: list[str], permission: str) -> None:
    grants = tuple(Grant(permission=one, group="a", source="a", kind="direct") for one in granted)
    free = Principal(
        user_id="u",
        key_id="k",
        direct=("a",),
        effective=("a",),
        closure=("a",),
        clearance=Level.PUBLIC,
        grants=grants,
        billing_group="a",
    )
    bound = free.model_copy(update={"scopes": tuple(scopes)})
    assert free.may(permission) or not bound.may(permission)
    assert bound.may_in("a", permission) == bound.may(permission)
    assert not bound.may_in("b", permission)
    assert any(covers(pattern, permission) for pattern in bound.permissions()) == bound.may(permission)
