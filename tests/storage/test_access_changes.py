"""Who may see an object: changed by those who write in its group, followed by epochs and version, never conferring."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.administration import AccessInput, MemberAddInput
from domain.calls import Caller
from domain.errors import ErrorCode
from domain.policy import Level
from storage import documents, epochs, groups, products
from storage.administration import access, members
from storage.administration.change import Change
from storage.documents import NewDocument
from storage.policy_sql import ObjectKind
from tests.storage.catalogue import row
from tests.storage.offices import Office, group_epoch


async def _of(kind: ObjectKind, tx: AsyncConnection, caller: Caller, asked: AccessInput) -> Change:
    return await access.change(tx, kind, caller, asked)


PRODUCT, DOCUMENT = partial(_of, "product"), partial(_of, "document")


def to(object_id: str, **more: Any) -> AccessInput:
    return AccessInput.model_validate({"id": object_id, **more})


@pytest.fixture
async def stocked(at_office: Office) -> Office:
    """A lamp of the shop that the till may see, a note of the lab, and a lamp of the rival."""
    async with at_office.database.write() as tx:
        await products.upsert(
            tx, "shop", [row("lamp", allowed_groups=["till"]), row("tent")], default_level=Level.INTERNAL
        )
        await products.upsert(tx, "rival", [row("lamp")], default_level=Level.INTERNAL)
        note = NewDocument(id="note", title="A note", source="note.md", text="…", access_level=Level.CONFIDENTIAL)
        await documents.upsert(tx, "lab", [note])
    return at_office


async def sees(at_office: Office, user: str, product: str, owner: str = "shop") -> bool:
    principal = await at_office.principal(user)
    async with at_office.database.read() as tx:
        return bool(await products.recheck(tx, principal, [(owner, product)]))


async def test_a_change_holds_at_once_and_raises_what_gains_or_loses(stocked: Office) -> None:
    assert await sees(stocked, "kim", "tent")
    before = await stocked.epochs()
    done = await stocked.change("sue", PRODUCT, to("tent", restricted_groups=["till"]))
    assert (done.version, done.restricted_groups, done.changed) == (2, ["till"], True)
    assert await stocked.risen(before) == group_epoch("shop", "till")
    assert not await sees(stocked, "tom", "tent")
    before = await stocked.epochs()
    again = await stocked.change("sue", PRODUCT, to("tent", restricted_groups=["till"]))
    assert (again.version, again.changed, await stocked.risen(before)) == (2, False, set())
    opened = await stocked.change("sue", PRODUCT, to("tent", restricted_groups=[]))
    assert opened.version == 3
    assert await sees(stocked, "tom", "tent")


async def test_publishing_takes_the_right_and_is_felt_by_everybody(stocked: Office) -> None:
    refusal = await stocked.refused("sue", PRODUCT, to("tent", access_level="public"))
    assert (refusal.code, "objects:publish" in refusal.message) == (ErrorCode.FORBIDDEN, True)
    async with stocked.database.write() as tx:
        await groups.create_group(
            tx, "press", name="Press", parent="acme", permissions=["products:write", "objects:publish"]
        )
        await groups.create_user(tx, "eve", primary_group="press")
        key = await groups.create_key(tx, "eve", pepper=b"p" * 32)
        await products.upsert(tx, "press", [row("kite")], default_level=Level.INTERNAL)
    stocked.keys["eve"] = key
    before = await stocked.epochs()
    assert (await stocked.change("eve", PRODUCT, to("kite", access_level="public"))).access_level is Level.PUBLIC
    assert await stocked.risen(before) == {epochs.PUBLIC, *group_epoch("press")}
    assert await sees(stocked, "max", "kite", "press")
    before = await stocked.epochs()
    await stocked.change("eve", PRODUCT, to("kite", access_level="internal"))
    assert epochs.PUBLIC in await stocked.risen(before)
    assert not await sees(stocked, "max", "kite", "press")


@pytest.mark.parametrize(
    ("user", "operation", "given", "code"),
    [
        ("sue", PRODUCT, to("tent", access_level="confidential"), ErrorCode.INVALID_ARGUMENT),
        ("sue", PRODUCT, to("tent", allowed_groups=["rival"]), ErrorCode.INVALID_ARGUMENT),
        ("sue", PRODUCT, to("tent", allowed_groups=["nowhere"]), ErrorCode.INVALID_ARGUMENT),
        ("sue", PRODUCT, to("tent", restricted_groups=["shop"]), ErrorCode.INVALID_ARGUMENT),
        ("sue", PRODUCT, to("tent"), ErrorCode.INVALID_ARGUMENT),
        ("tom", PRODUCT, to("tent", sensitive=True), ErrorCode.FORBIDDEN),
        ("tom", PRODUCT, to("lamp", sensitive=True), ErrorCode.FORBIDDEN),
        ("ann", DOCUMENT, to("note", sensitive=True), ErrorCode.NOT_FOUND),
        ("max", PRODUCT, to("tent", sensitive=True), ErrorCode.NOT_FOUND),
        ("sue", PRODUCT, to("lamp", owner_group="rival", sensitive=True), ErrorCode.NOT_FOUND),
    ],
)
async def test_changes_that_are_refused(
    stocked: Office, user: str, operation: Any, given: AccessInput, code: ErrorCode
) -> None:
    refusal = await stocked.refused(user, operation, given)
    assert refusal.code is code, refusal.message


async def test_hidden_and_absent_objects_are_answered_alike(stocked: Office) -> None:
    said = {
        (
            (await stocked.refused("max", PRODUCT, to(one, sensitive=True))).body().model_dump_json(),
            await stocked.cost("max", PRODUCT, to(one, sensitive=True)),
        )
        for one in ("tent", "nothing", "x" * 128, "' OR 1=1")
    }
    assert len(said) == 1


async def test_of_two_objects_with_one_id_the_callers_own_is_meant(stocked: Office) -> None:
    assert (await stocked.change("max", PRODUCT, to("lamp", sensitive=False))).owner_group == "rival"
    assert (await stocked.change("sue", PRODUCT, to("lamp", sensitive=False))).owner_group == "shop"


async def test_groups_that_the_caller_may_not_name_stay_and_are_not_shown(stocked: Office) -> None:
    async with stocked.database.write() as tx:
        await products.upsert(
            tx,
            "shop",
            [row("flag", allowed_groups=["rival", "till"], restricted_groups=["platform"])],
            default_level=Level.INTERNAL,
        )
    done = await stocked.change("sue", PRODUCT, to("flag", allowed_groups=[], restricted_groups=[]))
    assert (done.allowed_groups, done.restricted_groups) == ([], [])
    assert await sees(stocked, "max", "flag")
    assert not await sees(stocked, "root", "flag")


async def test_the_same_file_again_leaves_a_change_alone(stocked: Office) -> None:
    await stocked.change("sue", PRODUCT, to("tent", restricted_groups=["till"]))
    async with stocked.database.write() as tx:
        done = await products.upsert(tx, "shop", [row("tent")], default_level=Level.INTERNAL)
    assert done.unchanged == 1
    assert not await sees(stocked, "tom", "tent")


async def test_rights_are_those_of_the_moment(stocked: Office) -> None:
    """Admission is one snapshot and the change another: what was lost in between is gone."""
    await stocked.change("sue", members.add, MemberAddInput(id="till", user_id="kim", role=0))
    await stocked.change("root", members.add, MemberAddInput(id="shop", user_id="sue", role=0))
    assert (
        await stocked.refused("sue", members.add, MemberAddInput(id="till", user_id="kim"))
    ).code is ErrorCode.NOT_FOUND
