"""Members and users are managed by those who administer their groups; others learn nothing of them."""

from typing import Any

import pytest

from domain.administration import MemberAddInput, MemberRemoveInput, MembersInput, UserCreateInput, UserInput
from domain.errors import CohortError, ErrorCode
from domain.policy import Principal
from storage import groups
from storage.administration import members, people
from tests.storage.offices import Office, group_epoch


def joining(user: str, group: str, role: int | None = None) -> MemberAddInput:
    return MemberAddInput(id=group, user_id=user, role=role)


async def test_a_member_is_in_from_the_next_snapshot_on_and_out_again(at_office: Office) -> None:
    before = await at_office.epochs()
    added = await at_office.change("ann", members.add, joining("tom", "shop", 0))
    assert (added.changed, added.admin_level) == (True, 0)
    assert await at_office.risen(before) == group_epoch("shop")
    assert (await at_office.principal("tom")).direct == ("shop", "till")
    again = await at_office.epochs()
    assert not (await at_office.change("ann", members.add, joining("tom", "shop", 0))).changed
    assert await at_office.epochs() == again
    await at_office.change("ann", members.remove, MemberRemoveInput(id="shop", user_id="tom"))
    assert (await at_office.principal("tom")).direct == ("till",)


async def test_a_role_changes_what_a_member_administers(at_office: Office) -> None:
    assert (await at_office.change("sue", members.add, joining("kim", "shop"))).admin_level == 2
    assert (await at_office.principal("kim")).administers == ("shop", "till")
    assert (await at_office.change("sue", members.add, joining("kim", "shop", 1))).admin_level == 1
    assert (await at_office.principal("kim")).administers == ()


async def test_a_primary_group_that_was_left_gives_way(at_office: Office) -> None:
    await at_office.change("ann", members.add, joining("kim", "till"))
    await at_office.change("ann", members.remove, MemberRemoveInput(id="shop", user_id="kim"))
    assert (await at_office.principal("kim")).billing_group == "till"


async def test_a_user_whose_last_group_was_left_can_be_taken_back(at_office: Office) -> None:
    await at_office.change("sue", members.remove, MemberRemoveInput(id="till", user_id="tom"))
    gone = await at_office.take("tom")
    assert isinstance(gone, CohortError)
    assert (await at_office.change("sue", members.add, joining("tom", "till"))).changed
    assert isinstance(await at_office.take("tom"), Principal)


@pytest.mark.parametrize(
    ("user", "given", "code"),
    [
        ("kim", joining("tom", "shop"), ErrorCode.NOT_FOUND),
        ("sue", joining("tom", "lab"), ErrorCode.NOT_FOUND),
        ("sue", joining("lee", "shop"), ErrorCode.NOT_FOUND),  # in none of her groups, nor in one below
        ("max", joining("tom", "rival"), ErrorCode.NOT_FOUND),
        ("ann", joining("tom", "lab"), ErrorCode.FORBIDDEN),  # the lab is cleared for more, and may do more
    ],
)
async def test_members_that_nobody_may_add(
    at_office: Office, user: str, given: MemberAddInput, code: ErrorCode
) -> None:
    assert (await at_office.refused(user, members.add, given)).code is code


async def test_hidden_and_absent_users_are_answered_alike(at_office: Office) -> None:
    said: dict[str, set[tuple[str, int]]] = {}
    for user in ("max", "lee", "root", "nobody", "x" * 128, "' OR 1=1"):
        cases: list[tuple[Any, Any]] = [
            (members.add, joining(user, "shop")),
            (members.remove, MemberRemoveInput(id="shop", user_id=user)),
            (people.disable, UserInput(id=user)),
            (people.enable, UserInput(id=user)),
            (people.remove, UserInput(id=user)),
        ]
        for operation, given in cases:
            refusal = await at_office.refused("sue", operation, given)
            cost = await at_office.cost("sue", operation, given)
            said.setdefault(str(operation), set()).add((refusal.body().model_dump_json(), cost))
    assert [len(each) for each in said.values()] == [1] * 5


async def test_a_new_user_is_in_his_primary_group(at_office: Office) -> None:
    made = await at_office.change("sue", people.create, UserCreateInput(id="new", primary_group="till"))
    assert (made.name, made.primary_group, made.groups, made.disabled) == ("new", "till", ["till"], False)
    for user, group, code in [
        ("sue", "lab", ErrorCode.INVALID_ARGUMENT),
        ("sue", "nowhere", ErrorCode.INVALID_ARGUMENT),
        ("ann", "lab", ErrorCode.FORBIDDEN),
        ("kim", "till", ErrorCode.INVALID_ARGUMENT),
    ]:
        refusal = await at_office.refused(user, people.create, UserCreateInput(id="newer", primary_group=group))
        assert refusal.code is code
    taken = await at_office.refused("sue", people.create, UserCreateInput(id="max", primary_group="till"))
    assert taken.code is ErrorCode.CONFLICT


async def test_a_disabled_user_is_refused_until_enabled(at_office: Office) -> None:
    assert (await at_office.change("sue", people.disable, UserInput(id="tom"))).disabled
    refusal = await at_office.take("tom")
    assert isinstance(refusal, CohortError)
    assert refusal.code is ErrorCode.UNAUTHENTICATED
    assert not (await at_office.change("sue", people.enable, UserInput(id="tom"))).disabled
    assert isinstance(await at_office.take("tom"), Principal)


async def test_enabling_confers_what_the_user_had(at_office: Office) -> None:
    await at_office.change("root", people.disable, UserInput(id="lee"))
    refusal = await at_office.refused("ann", people.enable, UserInput(id="lee"))
    assert (refusal.code, "confidential" in refusal.message) == (ErrorCode.FORBIDDEN, True)


async def test_a_user_of_others_groups_too_is_not_to_be_disabled_or_deleted(at_office: Office) -> None:
    for operation in (people.disable, people.remove):
        for user in ("sue", "ann", "max"):
            assert (await at_office.refused(user, operation, UserInput(id="bob"))).code is ErrorCode.NOT_FOUND
    assert (await at_office.change("root", people.disable, UserInput(id="bob"))).disabled


async def test_nobody_disables_or_deletes_himself(at_office: Office) -> None:
    for operation in (people.disable, people.remove):
        assert (await at_office.refused("root", operation, UserInput(id="root"))).code is ErrorCode.CONFLICT


async def test_a_deleted_user_is_gone_and_his_id_with_him(at_office: Office) -> None:
    before = await at_office.epochs()
    assert (await at_office.change("sue", people.remove, UserInput(id="tom"))).keys == 1
    assert await at_office.risen(before) == group_epoch("till")
    refusal = await at_office.take("tom")
    assert isinstance(refusal, CohortError)
    again = await at_office.refused("sue", people.create, UserCreateInput(id="tom", primary_group="till"))
    assert again.code is ErrorCode.CONFLICT


async def test_members_are_listed_in_pages_for_administrators_only(at_office: Office) -> None:
    async with at_office.database.write() as tx:
        for number in range(5):
            await groups.create_user(tx, f"user{number}", primary_group="till")
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        async with at_office.database.read() as tx:
            page = await members.page(tx, at_office.caller("sue"), MembersInput(id="till", limit=3), after)
        assert page.total == 7
        found += [one.user_id for one in page.output.members]
        after = page.after
    assert found == ["bob", "tom", *(f"user{number}" for number in range(5))]
    for user in ("tom", "kim", "max"):
        async with at_office.database.read() as tx:
            with pytest.raises(CohortError) as refusal:
                await members.page(tx, at_office.caller(user), MembersInput(id="till"), "")
        assert refusal.value.code is ErrorCode.NOT_FOUND
