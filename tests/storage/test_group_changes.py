"""Groups are created, changed, moved and deleted by those who administer them, who confer nothing that they lack."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from domain.administration import GroupCreateInput, GroupDeleteInput, GroupUpdateInput
from domain.errors import CohortError, ErrorCode
from domain.policy import Level
from storage import groups, products
from storage.administration import group_changes, group_deletion
from storage.epochs import POLICY
from storage.tables import GROUPS, MEMBERSHIPS, OBJECT_GROUPS, PRODUCT_ATTRIBUTES, PRODUCTS, USERS
from tests.storage.catalogue import row
from tests.storage.offices import Office, group_epoch


def new(group: str, **more: Any) -> GroupCreateInput:
    return GroupCreateInput.model_validate({"id": group, "name": group.title(), **more})


def changed(group: str, **more: Any) -> GroupUpdateInput:
    return GroupUpdateInput.model_validate({"id": group, **more})


async def test_an_administrator_adds_a_group_below_his_own(at_office: Office) -> None:
    before = await at_office.epochs()
    made = await at_office.change("sue", group_changes.create, new("kiosk", parent="till", monthly_budget=5))
    assert (made.parent, made.access_level, made.monthly_budget) == ("till", Level.INTERNAL, 5)
    assert await at_office.risen(before) == {POLICY, *group_epoch("kiosk")}


@pytest.mark.parametrize(
    ("user", "given", "code", "says"),
    [
        ("sue", {"parent": "lab"}, ErrorCode.INVALID_ARGUMENT, "no such group, or you do not administer it"),
        ("sue", {"parent": "nowhere"}, ErrorCode.INVALID_ARGUMENT, "no such group, or you do not administer it"),
        ("sue", {"parent": "acme"}, ErrorCode.INVALID_ARGUMENT, "no such group, or you do not administer it"),
        ("ann", {}, ErrorCode.INVALID_ARGUMENT, "takes a platform administrator"),
        ("kim", {"parent": "till"}, ErrorCode.INVALID_ARGUMENT, "you do not administer it"),
        ("sue", {"parent": "till", "access_level": "confidential"}, ErrorCode.FORBIDDEN, "access level confidential"),
        ("sue", {"parent": "till", "admin_level": 3}, ErrorCode.FORBIDDEN, "admin level 3 (yours here is 2)"),
        ("sue", {"parent": "till", "permissions": ["models:read"]}, ErrorCode.FORBIDDEN, "permission models:read"),
        ("sue", {"parent": "till", "shared_permissions": ["*:read"]}, ErrorCode.FORBIDDEN, "permission *:read"),
        ("sue", {"parent": "till", "weight": 2}, ErrorCode.FORBIDDEN, "weight"),
        ("ann", {"parent": "lab", "monthly_budget": 101}, ErrorCode.FORBIDDEN, "monthly budget"),
        ("ann", {"parent": "lab", "artifact_prefixes": ["s3://b/"]}, ErrorCode.FORBIDDEN, "prefix s3://b/"),
    ],
)
async def test_no_group_is_made_that_its_maker_may_not_make(
    at_office: Office, user: str, given: dict[str, Any], code: ErrorCode, says: str
) -> None:
    refusal = await at_office.refused(user, group_changes.create, new("novel", **given))
    assert (refusal.code, says in refusal.message) == (code, True), refusal.message


async def test_the_platform_gives_budgets_and_prefixes_that_no_group_has(at_office: Office) -> None:
    given = new("novel", monthly_budget=1e6, artifact_prefixes=["s3://b/novel/"], weight=5)
    made = await at_office.change("root", group_changes.create, given)
    assert (made.monthly_budget, made.artifact_prefixes, made.weight) == (1e6, ["s3://b/novel/"], 5)


async def test_a_taken_and_a_retired_id_are_refused_alike(at_office: Office) -> None:
    await at_office.change("root", group_changes.create, new("brief"))
    await at_office.change("root", group_deletion.remove, GroupDeleteInput(id="brief"))
    taken = await at_office.refused("ann", group_changes.create, new("rival", parent="acme"))
    retired = await at_office.refused("ann", group_changes.create, new("brief", parent="acme"))
    assert taken.code is retired.code is ErrorCode.CONFLICT
    assert taken.message.replace("rival", "brief") == retired.message


async def test_a_change_names_what_it_changed_and_raises_the_groups_epoch(at_office: Office) -> None:
    before = await at_office.epochs()
    after = await at_office.change("sue", group_changes.change, changed("till", name="Tills", access_level="public"))
    assert (after.name, after.access_level) == ("Tills", Level.PUBLIC)
    assert await at_office.risen(before) == {POLICY, *group_epoch("till")}
    again = await at_office.epochs()
    await at_office.change("sue", group_changes.change, changed("till", name="Tills"))
    assert await at_office.epochs() == again


@pytest.mark.parametrize(
    ("user", "group", "given", "code"),
    [
        ("sue", "lab", {"name": "Mine"}, ErrorCode.NOT_FOUND),
        ("kim", "till", {"name": "Mine"}, ErrorCode.NOT_FOUND),
        ("sue", "till", {}, ErrorCode.INVALID_ARGUMENT),
        ("sue", "till", {"monthly_budget": 5, "clear": ["monthlyBudget"]}, ErrorCode.INVALID_ARGUMENT),
        ("sue", "till", {"permissions": ["products:write", "audit:read"]}, ErrorCode.FORBIDDEN),
        ("sue", "shop", {"admin_level": 3}, ErrorCode.FORBIDDEN),
        ("ann", "acme", {"monthly_budget": 101}, ErrorCode.FORBIDDEN),
        ("ann", "acme", {"clear": ["monthlyBudget"]}, ErrorCode.FORBIDDEN),
    ],
)
async def test_changes_that_are_refused(
    at_office: Office, user: str, group: str, given: dict[str, Any], code: ErrorCode
) -> None:
    refusal = await at_office.refused(user, group_changes.change, changed(group, **given))
    assert refusal.code is code, refusal.message


async def test_what_a_group_has_already_is_kept_by_an_administrator_who_lacks_it(at_office: Office) -> None:
    after = await at_office.change("ann", group_changes.change, changed("lab", permissions=["models:*"], name="Lab 2"))
    assert after.permissions == ["models:*"]
    assert (
        await at_office.change("ann", group_changes.change, changed("acme", monthly_budget=50))
    ).monthly_budget == 50


async def test_a_move_takes_both_ends(at_office: Office) -> None:
    before = await at_office.epochs()
    moved = await at_office.change("ann", group_changes.change, changed("till", parent="lab"))
    assert moved.parent == "lab"
    assert await at_office.risen(before) == {POLICY, *group_epoch("till")}
    for user, given in [
        ("sue", {"parent": "shop"}),  # the till is hers no more
        ("ann", {"parent": "rival"}),
        ("ann", {"parent": "nowhere"}),
        ("ann", {"clear": ["parent"]}),
    ]:
        refusal = await at_office.refused(user, group_changes.change, changed("till", **given))
        assert refusal.code is (ErrorCode.NOT_FOUND if user == "sue" else ErrorCode.INVALID_ARGUMENT)
    own = await at_office.refused("sue", group_changes.change, changed("shop", parent="lab"))
    assert own.code is ErrorCode.INVALID_ARGUMENT
    assert (await at_office.change("root", group_changes.change, changed("till", clear=["parent"]))).parent is None


@pytest.mark.parametrize("parent", ["acme", "shop", "till"])
async def test_a_move_closes_no_cycle(at_office: Office, parent: str) -> None:
    refusal = await at_office.refused("root", group_changes.change, changed("acme", parent=parent))
    assert "itself or a group below it" in refusal.message


async def test_a_move_confers_no_shared_permission_that_the_mover_lacks(at_office: Office) -> None:
    async with at_office.database.write() as tx:
        await groups.create_group(tx, "vault", name="Vault", parent="acme", shared_permissions=["audit:read"])
    refusal = await at_office.refused("ann", group_changes.change, changed("till", parent="vault"))
    assert (refusal.code, "audit:read" in refusal.message) == (ErrorCode.FORBIDDEN, True)


async def test_hidden_and_absent_groups_are_answered_alike(at_office: Office) -> None:
    said, costs = set[str](), dict[str, set[int]]()
    for group in ("rival", "platform", "nowhere", "x" * 100, "' OR 1=1"):
        cases: list[tuple[Any, Any]] = [
            (group_changes.change, changed(group, name="Mine")),
            (group_deletion.remove, GroupDeleteInput(id=group)),
        ]
        for operation, given in cases:
            said.add((await at_office.refused("ann", operation, given)).body().model_dump_json())
            costs.setdefault(str(operation), set()).add(await at_office.cost("ann", operation, given))
    assert len(said) == 1
    assert [len(each) for each in costs.values()] == [1, 1]


async def test_a_group_in_use_is_not_deleted_and_says_what_it_has(at_office: Office) -> None:
    async with at_office.database.write() as tx:
        await products.upsert(tx, "shop", [row("lamp"), row("tent")], default_level=Level.INTERNAL)
    refusal = await at_office.refused("ann", group_deletion.remove, GroupDeleteInput(id="shop"))
    assert refusal.code is ErrorCode.CONFLICT
    assert refusal.details == {"products": 2, "children": 1, "members": 2}
    assert "2 products, 1 child group, 2 members" in refusal.message


async def test_a_deletion_with_a_transfer_loses_nothing(at_office: Office) -> None:
    lamp = row("lamp", attributes={"colour": "red"}, allowed_groups=["rival"], restricted_groups=["lab"])
    async with at_office.database.write() as tx:
        await products.upsert(tx, "shop", [lamp, row("tent")], default_level=Level.INTERNAL)
        await products.upsert(tx, "acme", [row("lamp")], default_level=Level.INTERNAL)
        await products.upsert(tx, "acme", [row("lamp", price=2)], default_level=Level.INTERNAL)
        await products.delete(tx, "acme", ["lamp"])
    before = await at_office.epochs()
    given = GroupDeleteInput(id="shop", transfer_to="acme")
    done = await at_office.change("ann", group_deletion.remove, given)
    assert (done.products, done.children, done.members) == (2, 1, 2)
    assert await at_office.risen(before) == {POLICY, *group_epoch("shop", "acme", "till", "rival", "lab")}
    async with at_office.database.read() as tx:
        found = {one.id: one for one in await tx.execute(select(PRODUCTS))}
        assert {one.owner_group for one in found.values()} == {"acme"}
        # the lamp that acme had before was at version 2, so this one goes on from there
        assert (found["lamp"].version, found["tent"].version) == (3, 2)
        assert [one.owner_group for one in await tx.execute(select(PRODUCT_ATTRIBUTES))] == ["acme"]
        listed = {(one.owner_group, one.effect, one.group_id) for one in await tx.execute(select(OBJECT_GROUPS))}
        assert listed == {("acme", "allowed", "rival"), ("acme", "restricted", "lab")}
        assert await tx.scalar(select(GROUPS.c.parent).where(GROUPS.c.id == "till")) == "acme"
        members = select(MEMBERSHIPS.c.user_id, MEMBERSHIPS.c.role).where(MEMBERSHIPS.c.group_id == "acme")
        assert {tuple(one) for one in await tx.execute(members)} == {("ann", None), ("sue", None), ("kim", 0)}
        assert await tx.scalar(select(USERS.c.primary_group).where(USERS.c.id == "kim")) == "acme"
    assert "acme" in (await at_office.principal("kim")).direct


async def test_a_transfer_to_where_ids_clash_is_refused(at_office: Office) -> None:
    async with at_office.database.write() as tx:
        for group in ("shop", "acme"):
            await products.upsert(tx, group, [row("lamp")], default_level=Level.INTERNAL)
    given = GroupDeleteInput(id="shop", transfer_to="acme")
    refusal = await at_office.refused("ann", group_deletion.remove, given)
    assert (refusal.code, refusal.details) == (ErrorCode.CONFLICT, {"products": 1})


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("shop", ErrorCode.INVALID_ARGUMENT),
        ("till", ErrorCode.INVALID_ARGUMENT),
        ("rival", ErrorCode.INVALID_ARGUMENT),
        ("nowhere", ErrorCode.INVALID_ARGUMENT),
        ("lab", ErrorCode.FORBIDDEN),  # its members are cleared for more than the administrator of acme
    ],
)
async def test_transfers_that_are_refused(at_office: Office, target: str, code: ErrorCode) -> None:
    given = GroupDeleteInput(id="shop", transfer_to=target)
    assert (await at_office.refused("ann", group_deletion.remove, given)).code is code


async def test_an_override_and_a_context_narrow_what_is_administered(at_office: Office) -> None:
    for narrowing in ({"context": "platform"}, {"override": "shop"}):
        done = await at_office.change("root", group_changes.change, changed("till", name=str(narrowing)), **narrowing)
        assert done.name == str(narrowing)
    outside = await at_office.refused("root", group_changes.change, changed("lab", name="No"), override="shop")
    assert outside.code is ErrorCode.NOT_FOUND
    above = await at_office.refused("sue", group_changes.change, changed("till", name="No"), context="acme")
    assert above.code is ErrorCode.NOT_FOUND


async def test_two_moves_at_once_close_no_cycle(at_office: Office) -> None:
    """Each is fine alone; together they would put shop and lab below one another."""
    moves = [("lab", "shop"), ("shop", "lab")] * 3
    done = await asyncio.gather(
        *(at_office.change("root", group_changes.change, changed(group, parent=to)) for group, to in moves),
        return_exceptions=True,
    )
    assert [isinstance(one, CohortError) for one in done].count(True) == 3
    async with at_office.database.read() as tx:
        parents = {one.id: one.parent for one in await tx.execute(select(GROUPS))}
    assert {parents["lab"], parents["shop"]} in ({"acme", "shop"}, {"acme", "lab"})
