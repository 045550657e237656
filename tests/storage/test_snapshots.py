"""Who callers are: contexts, key bounds, overrides, scopes, and everything that ends a key."""

import time

import pytest
from sqlalchemy import event, text, update

from domain.calls import Caller
from domain.errors import CohortError, ErrorCode
from domain.policy import Level, Principal
from storage import groups, refusals, snapshots
from storage.sql import Database
from storage.tables import GROUPS
from tests.storage.worlds import PEPPER, World


def refused(taken: Principal | CohortError, code: ErrorCode, sentence: str) -> None:
    assert isinstance(taken, CohortError)
    assert (taken.code, taken.message) == (code, sentence)


async def test_sight_flows_up_and_rights_do_not(world: World) -> None:
    rosa = await world.principal("rosa")
    assert rosa.direct == ("research",)
    assert rosa.effective == rosa.closure == ("acme", "research")
    assert rosa.clearance is Level.CONFIDENTIAL
    assert rosa.billing_group == "research"
    assert rosa.permissions() == ["completions:create", "models:*", "products:read"]
    assert rosa.administers == ("lab", "research")
    assert {(g.permission, g.group, g.source, g.kind) for g in rosa.grants} == {
        ("models:*", "research", "research", "direct"),
        ("products:read", "research", "acme", "shared"),
        ("completions:create", "research", "acme", "shared"),
    }
    lena = await world.principal("lena")
    assert lena.effective == ("acme", "lab", "research")
    assert lena.clearance is Level.INTERNAL
    assert not lena.may("models:read")
    assert lena.administers == ()


async def test_a_role_caps_the_groups_admin_level(world: World) -> None:
    both = await world.principal("both")
    assert both.direct == ("research", "sales")
    assert both.administers == ()
    assert (await world.principal("root")).administers == ("*",)


async def test_context_narrows_to_a_direct_group(world: World) -> None:
    both = await world.principal("both", context="sales")
    assert (both.direct, both.effective) == (("sales",), ("acme", "sales"))
    assert both.closure == ("acme", "research", "sales")
    assert both.clearance is Level.INTERNAL
    assert both.billing_group == "sales"
    assert not both.may("models:read")


async def test_context_narrows_to_an_ancestor_with_what_it_shares(world: World) -> None:
    rosa = await world.principal("rosa", context="acme")
    assert (rosa.direct, rosa.effective, rosa.billing_group) == ((), ("acme",), "acme")
    assert rosa.clearance is Level.PUBLIC
    assert rosa.permissions() == ["completions:create", "products:read"]
    assert not rosa.may("documents:write")
    assert not rosa.may_in("acme", "products:read")
    assert rosa.administers == ("lab", "research")


@pytest.mark.parametrize("context", ["partner", "lab", "nowhere", "", "a\x00b", "ACME' OR 1=1"])
async def test_a_foreign_context_and_one_that_does_not_exist_are_told_alike(world: World, context: str) -> None:
    taken = await world.take("rosa", context=context)
    if context:
        refused(taken, ErrorCode.FORBIDDEN, refusals.CONTEXT)
    else:
        assert isinstance(taken, Principal)


async def test_an_override_acts_as_a_group_that_one_administers(world: World) -> None:
    rosa = await world.principal("rosa", override="lab")
    assert rosa.direct == ("lab",)
    assert rosa.effective == rosa.closure == ("acme", "lab", "research")
    assert (rosa.user_id, rosa.billing_group, rosa.override) == ("rosa", "lab", "lab")
    assert rosa.clearance is Level.INTERNAL
    assert not rosa.may("models:read")
    root = await world.principal("root", override="partner")
    assert (root.direct, root.effective, root.closure) == (("partner",), ("partner",), ("partner", "platform"))
    assert root.permissions() == ["products:read"]
    narrowed = await world.principal("rosa", override="lab", context="acme")
    assert (narrowed.direct, narrowed.effective, narrowed.billing_group) == ((), ("acme",), "lab")


@pytest.mark.parametrize(
    ("user", "override"),
    [("rosa", "acme"), ("rosa", "sales"), ("rosa", "nowhere"), ("both", "research"), ("sam", "sales"), ("root", "no")],
)
async def test_other_overrides_are_told_alike(world: World, user: str, override: str) -> None:
    refused(await world.take(user, override=override), ErrorCode.FORBIDDEN, refusals.OVERRIDE)


async def test_a_bound_key_narrows_but_denial_does_not(world: World) -> None:
    async with world.database.write() as tx:
        key = await groups.create_key(tx, "both", pepper=PEPPER, groups=["research"], scopes=["models:read"])
        root = await groups.create_key(tx, "root", pepper=PEPPER, groups=["platform"])
    async with world.database.read() as tx:
        bound, context, override = await snapshots.take(
            tx,
            [
                Caller(key_id=key.id, user_id="both"),
                Caller(key_id=key.id, user_id="both", context="sales"),
                Caller(key_id=root.id, user_id="root", override="acme"),
            ],
        )
    assert isinstance(bound, Principal)
    assert (bound.direct, bound.effective, bound.billing_group) == (("research",), ("acme", "research"), "research")
    assert bound.closure == ("acme", "research", "sales")
    assert bound.permissions() == ["models:read"]
    assert bound.may("models:read")
    assert not bound.may("products:read")
    refused(context, ErrorCode.FORBIDDEN, refusals.CONTEXT)
    refused(override, ErrorCode.FORBIDDEN, refusals.OVERRIDE)


async def test_leaving_groups(world: World) -> None:
    async with world.database.write() as tx:
        await groups.remove_member(tx, "both", "sales")
        await groups.remove_member(tx, "sam", "sales")
    both = await world.principal("both")
    assert (both.direct, both.billing_group) == (("research",), "research")
    refused(await world.take("sam"), ErrorCode.FORBIDDEN, refusals.NO_GROUP)


async def test_what_ends_a_key(world: World) -> None:
    database = world.database
    async with database.write() as tx:
        soon = await groups.create_key(tx, "sam", pepper=PEPPER, expires_at=time.time() + 60)
        await groups.revoke_key(tx, world.keys["rosa"].id)
        await groups.disable_user(tx, "lena")
    callers = [
        world.caller("rosa"),
        world.caller("lena"),
        Caller(key_id=soon.id, user_id="sam"),
        Caller(key_id="0" * 16, user_id="sam"),
        Caller(key_id=soon.id, user_id="root"),
    ]
    async with database.read() as tx:
        taken = await snapshots.take(tx, callers, now=time.time() + 61)
    for one, sentence in zip(
        taken,
        [refusals.REVOKED, refusals.DISABLED, refusals.EXPIRED, refusals.WRONG, refusals.WRONG],
        strict=True,
    ):
        refused(one, ErrorCode.UNAUTHENTICATED, sentence)


async def test_a_cycle_of_groups_ends(world: World) -> None:
    async with world.database.write() as tx:
        await tx.execute(update(GROUPS).where(GROUPS.c.id == "acme").values(parent="lab"))
    rosa = await world.principal("rosa")
    assert rosa.effective == ("acme", "lab", "research")
    assert rosa.administers == ("acme", "lab", "research", "sales")


async def test_a_batch_takes_two_round_trips(world: World) -> None:
    statements: list[str] = []
    users = list(world.keys) * 10
    callers = [world.caller(user) for user in users] + [world.caller("root", override="lab")]
    async with world.database.read() as tx:
        await tx.execute(text("SELECT 1"))
        connection = tx.sync_connection
        assert connection is not None

        def executed(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            statements.append(statement)

        event.listen(connection, "before_cursor_execute", executed)
        taken = await snapshots.take(tx, callers)
    assert len(statements) == 2
    assert [one.user_id for one in taken if isinstance(one, Principal)] == [*users, "root"]


async def test_epochs_come_with_the_snapshot(world: World, database: Database) -> None:
    before = (await world.principal("rosa")).epochs
    assert set(before) == {
        *("level:public", "level:internal", "level:confidential", "policy", "public"),
        *("group:acme", "group:research"),
    }
    async with database.write() as tx:
        await groups.create_group(tx, "new", name="New", parent="acme")
        await groups.add_member(tx, "sam", "research", role=0)
    after = (await world.principal("rosa")).epochs
    assert {scope for scope, value in after.items() if value != before[scope]} == {"policy", "group:research"}
