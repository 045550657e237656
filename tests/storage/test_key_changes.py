"""Keys: whoever holds a token can do no more with it than with the key that made it."""

import time
from typing import Any

import pytest
from sqlalchemy import update

from domain.administration import KeyCreateInput, KeyInput, KeyRotateInput, KeysListInput, MemberRemoveInput
from domain.calls import Caller
from domain.errors import CohortError, ErrorCode
from domain.keys import ApiKey, parse_key
from domain.policy import Principal
from storage import groups, snapshots
from storage.administration import keys, members
from storage.administration.change import Change
from storage.identity import Identity
from storage.tables import KEYS
from tests.storage.offices import Office
from tests.storage.worlds import PEPPER


async def create(tx: Any, caller: Caller, asked: KeyCreateInput) -> Change:
    return await keys.create(tx, caller, asked, PEPPER)


async def rotate(tx: Any, caller: Caller, asked: KeyRotateInput) -> Change:
    return await keys.rotate(tx, caller, asked, PEPPER)


def new(user: str | None = None, **more: Any) -> KeyCreateInput:
    return KeyCreateInput.model_validate({"user_id": user, **more})


async def holder(at_office: Office, token: str) -> Principal:
    """What a token stands for, as a door and then a worker see it."""
    verified = await Identity(at_office.database, PEPPER).verify(token)
    caller = Caller(key_id=verified.key_id, user_id=verified.user_id)
    async with at_office.database.read() as tx:
        [taken] = await snapshots.take(tx, [caller])
    assert isinstance(taken, Principal), taken
    return taken


async def test_ones_own_key_speaks_for_all_that_one_has(at_office: Office) -> None:
    made = await at_office.change("sue", create, new(name="laptop"))
    assert (made.key.user_id, made.key.name, made.key.groups, made.key.state) == ("sue", "laptop", [], "active")
    assert (await holder(at_office, made.token)).administers == ("shop", "till")
    narrow = await at_office.change("sue", create, new(scopes=["products:read"], groups=["shop"]))
    assert (await holder(at_office, narrow.token)).permissions() == ["products:read"]


async def test_a_key_for_another_is_bound_to_the_makers_subtree(at_office: Office) -> None:
    made = await at_office.change("sue", create, new("bob"))
    assert made.key.groups == ["till"]
    assert (await holder(at_office, made.token)).direct == ("till",)
    assert (await at_office.change("root", create, new("bob"))).key.groups == []


@pytest.mark.parametrize(
    ("user", "given", "code"),
    [
        ("sue", new("bob", groups=["rival"]), ErrorCode.INVALID_ARGUMENT),
        ("sue", new("bob", groups=["nowhere"]), ErrorCode.INVALID_ARGUMENT),
        ("sue", new("lee"), ErrorCode.NOT_FOUND),
        ("sue", new("nobody"), ErrorCode.NOT_FOUND),
        ("ann", new("lee"), ErrorCode.FORBIDDEN),  # cleared for more than she is
        ("kim", new("tom"), ErrorCode.NOT_FOUND),
        ("kim", new(groups=["till"]), ErrorCode.INVALID_ARGUMENT),
    ],
)
async def test_keys_that_nobody_may_make(at_office: Office, user: str, given: KeyCreateInput, code: ErrorCode) -> None:
    assert (await at_office.refused(user, create, given)).code is code


async def test_a_key_for_an_administrator_above_needs_the_same_level(at_office: Office) -> None:
    async with at_office.database.write() as tx:
        await groups.add_member(tx, "max", "till")
        await groups.create_group(tx, "crown", name="Crown", parent="till", admin_level=3, permissions=["audit:read"])
        await groups.create_user(tx, "king", primary_group="crown")
    refusal = await at_office.refused("sue", create, new("king"))
    assert "admin level 3" in refusal.message
    assert "audit:read" in refusal.message
    scoped = await at_office.refused("sue", create, new("king", scopes=["products:read"]))
    assert "audit:read" not in scoped.message


async def bounded(at_office: Office, user: str, **bounds: Any) -> None:
    """Give the key that this user acts with these bounds."""
    async with at_office.database.write() as tx:
        await tx.execute(update(KEYS).where(KEYS.c.id == at_office.keys[user].id).values(**bounds))


@pytest.mark.parametrize(
    ("bounds", "good", "bad", "says"),
    [
        ({"groups": ["shop"]}, {"groups": ["shop"]}, {}, "groups outside those of the key"),
        ({"scopes": ["keys:admin", "products:*"]}, {"scopes": ["products:read"]}, {}, "outside the scopes of the key"),
        ({"scopes": ["keys:*"]}, {"scopes": ["keys:admin"]}, {"scopes": ["products:read"]}, "outside the scopes"),
        ({"expires_at": time.time() + 5_000}, {"expires_in_seconds": 60}, {}, "more time than the key"),
    ],
)
async def test_a_bounded_key_makes_none_that_is_wider(
    at_office: Office, bounds: dict[str, Any], good: dict[str, Any], bad: dict[str, Any], says: str
) -> None:
    await bounded(at_office, "sue", **bounds)
    refusal = await at_office.refused("sue", create, new(**bad))
    assert (refusal.code, says in refusal.message) == (ErrorCode.FORBIDDEN, True), refusal.message
    assert (await at_office.change("sue", create, new(**good))).key.state == "active"


async def test_a_context_narrows_the_keys_that_are_made_in_it(at_office: Office) -> None:
    async with at_office.database.write() as tx:
        await groups.add_member(tx, "ann", "shop")
    refusal = await at_office.refused("ann", create, new(), context="shop")
    assert "group context" in refusal.message
    assert (await at_office.change("ann", create, new(groups=["shop"]), context="shop")).key.groups == ["shop"]


async def test_a_rotated_key_is_valid_for_the_overlap_and_no_longer(at_office: Office) -> None:
    old = await at_office.change("sue", create, new("tom", scopes=["products:read"], expires_in_seconds=9_000))
    done = await at_office.change("sue", rotate, KeyRotateInput(id=old.key.id, overlap_seconds=600))
    same = ("user_id", "name", "groups", "scopes", "expires_at")
    assert [getattr(done.key, name) for name in same] == [getattr(old.key, name) for name in same]
    assert (done.replaces.id, done.replaces.state) == (old.key.id, "active")
    for token in (old.token, done.token):
        assert (await holder(at_office, token)).user_id == "tom"
    async with at_office.database.read() as tx:
        later = Caller(key_id=old.key.id, user_id="tom")
        [soon] = await snapshots.take(tx, [later], now=time.time() + 590)
        [late] = await snapshots.take(tx, [later], now=time.time() + 601)
    assert isinstance(soon, Principal)
    assert isinstance(late, CohortError)
    at_once = await at_office.change("sue", rotate, KeyRotateInput(id=done.key.id))
    assert at_once.replaces.state == "revoked"
    again = await at_office.refused("sue", rotate, KeyRotateInput(id=done.key.id))
    assert again.code is ErrorCode.CONFLICT


async def test_rotation_never_unbinds_a_key(at_office: Office) -> None:
    old = await at_office.change("sue", create, new("bob"))
    await at_office.change("sue", members.remove, MemberRemoveInput(id="till", user_id="bob"))
    assert (await at_office.refused("sue", rotate, KeyRotateInput(id=old.key.id))).code is ErrorCode.CONFLICT


async def test_a_revoked_key_stays_so(at_office: Office) -> None:
    id = at_office.keys["tom"].id
    assert (await at_office.change("sue", keys.revoke, KeyInput(id=id))).state == "revoked"
    assert isinstance(await at_office.take("tom"), CohortError)
    first = await at_office.change("sue", keys.revoke, KeyInput(id=id))
    assert first == await at_office.change("sue", keys.revoke, KeyInput(id=id))


async def test_hidden_and_absent_keys_are_answered_alike(at_office: Office) -> None:
    hidden: list[ApiKey] = [at_office.keys[user] for user in ("bob", "max", "lee", "root")]
    cases: list[tuple[Any, Any]] = [(keys.revoke, KeyInput), (rotate, KeyRotateInput)]
    for operation, given in cases:
        said = {
            (
                (await at_office.refused("sue", operation, given(id=id))).body().model_dump_json(),
                await at_office.cost("sue", operation, given(id=id)),
            )
            for id in (*(key.id for key in hidden), "0" * 16, "' OR 1=1")
        }
        assert len(said) == 1


async def test_keys_are_listed_for_their_owners_and_administrators(at_office: Office) -> None:
    bound = await at_office.change("sue", create, new("bob"))

    async def seen(user: str, **asked: Any) -> set[str]:
        found, totals = set[str](), set[int]()
        after: str | None = ""
        while after is not None:
            async with at_office.database.read() as tx:
                page = await keys.page(tx, at_office.caller(user), KeysListInput(limit=2, **asked), after)
                totals.add(page.total)
                assert not found & {one.id for one in page.output.keys}
                found |= {one.id for one in page.output.keys}
                after = page.after
        assert totals == {len(found)}
        return found

    own = {user: key.id for user, key in at_office.keys.items()}
    assert await seen("sue") == {own["sue"], own["kim"], own["tom"], bound.key.id}
    assert await seen("sue", user_id="bob") == {bound.key.id}
    assert await seen("sue", user_id="max") == await seen("sue", user_id="nobody") == set()
    assert await seen("tom") == set()  # without keys:admin not even his own
    assert await seen("root") == {*own.values(), bound.key.id}
    parsed = parse_key(bound.token)
    assert parsed is not None
    assert parsed.id == bound.key.id
