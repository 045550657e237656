"""What must hold of the policy whatever the world: denial wins, the default is no, and lists only add or only take."""

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.policy import Level, ObjectAccess, Principal, visible
from tests.support.proofs import PROPERTIES

GROUPS = tuple("abcd")
some = st.frozensets(st.sampled_from(GROUPS))


@st.composite
def accesses(draw: st.DrawFn) -> ObjectAccess:
    return ObjectAccess(
        owner_group=draw(st.sampled_from(GROUPS)),
        access_level=draw(st.sampled_from(Level)),
        allowed_groups=draw(some),
        restricted_groups=draw(some),
        sensitive=draw(st.booleans()),
    )


@st.composite
def principals(draw: st.DrawFn) -> Principal:
    direct = draw(some)
    effective = direct | draw(some)
    return Principal(
        user_id="u",
        key_id="k",
        direct=tuple(direct),
        effective=tuple(effective),
        closure=tuple(effective | draw(some)),
        clearance=draw(st.sampled_from(Level)),
        grants=(),
        administers=("*",) if draw(st.booleans()) else (),
        billing_group="a",
    )


def changed(access: ObjectAccess, **fields: object) -> ObjectAccess:
    return access.model_copy(update=fields)


thorough = settings.get_profile(PROPERTIES)


@thorough
@given(principals(), accesses())
def test_denial_overrides_everything(principal: Principal, access: ObjectAccess) -> None:
    for group in principal.closure:
        denied = changed(access, restricted_groups=access.restricted_groups | {group})
        assert not visible(principal, denied)
        assert not visible(principal, changed(denied, access_level=Level.PUBLIC))


@thorough
@given(principals(), accesses())
def test_nothing_is_seen_without_a_reason(principal: Principal, access: ObjectAccess) -> None:
    named = {access.owner_group, *access.allowed_groups}
    if access.access_level is not Level.PUBLIC and named.isdisjoint(principal.effective):
        assert not visible(principal, access)


@thorough
@given(principals(), accesses(), some)
def test_more_allowed_groups_never_hide(principal: Principal, access: ObjectAccess, more: frozenset[str]) -> None:
    if visible(principal, access):
        assert visible(principal, changed(access, allowed_groups=access.allowed_groups | more))


@thorough
@given(principals(), accesses(), some)
def test_more_restrictions_never_show(principal: Principal, access: ObjectAccess, more: frozenset[str]) -> None:
    if not visible(principal, access):
        assert not visible(principal, changed(access, restricted_groups=access.restricted_groups | more))


@thorough
@given(principals(), accesses())
def test_sensitivity_never_shows_and_clearance_never_hides(principal: Principal, access: ObjectAccess) -> None:
    if not visible(principal, changed(access, sensitive=False)):
        assert not visible(principal, changed(access, sensitive=True))
    if visible(principal, access):
        assert visible(principal.model_copy(update={"clearance": Level.CONFIDENTIAL}), access)


@thorough
@given(principals(), accesses())
def test_public_is_every_caller_who_is_not_denied(principal: Principal, access: ObjectAccess) -> None:
    public = changed(access, access_level=Level.PUBLIC)
    assert visible(principal, public) == access.restricted_groups.isdisjoint(principal.closure)


@thorough
@given(principals(), accesses())
def test_administering_is_not_seeing(principal: Principal, access: ObjectAccess) -> None:
    assert visible(principal, access) == visible(principal.model_copy(update={"administers": ()}), access)


@thorough
@given(principals(), accesses())
def test_administrators_of_everything_do_not_pass_a_restriction(principal: Principal, access: ObjectAccess) -> None:
    platform = principal.model_copy(update={"administers": ("*",), "clearance": Level.CONFIDENTIAL})
    if not access.restricted_groups.isdisjoint(principal.closure):
        assert not visible(platform, access)


@thorough
@given(principals(), accesses(), some)
def test_more_memberships_show_more_unless_they_are_restricted(
    principal: Principal, access: ObjectAccess, more: frozenset[str]
) -> None:
    joined = principal.model_copy(
        update={
            "direct": tuple({*principal.direct, *more}),
            "effective": tuple({*principal.effective, *more}),
            "closure": tuple({*principal.closure, *more}),
        }
    )
    if visible(principal, access) and access.restricted_groups.isdisjoint(more):
        assert visible(joined, access)
    if visible(joined, access):
        assert access.restricted_groups.isdisjoint(joined.closure)


@thorough
@given(principals(), accesses(), st.sampled_from(GROUPS))
def test_a_new_owner_changes_it_for_members_of_one_of_the_two_owners_only(
    principal: Principal, access: ObjectAccess, heir: str
) -> None:
    given_away = changed(access, owner_group=heir)
    before, after = visible(principal, access), visible(principal, given_away)
    if (access.owner_group in principal.effective) == (heir in principal.effective) or access.sensitive:
        assert before == after
    if after and not before:
        assert heir in principal.effective
    if before and not after:
        assert access.owner_group in principal.effective
