"""Groups and keys: refusals of changes, and what callers see of groups."""

import pytest
from sqlalchemy import select

from domain.calls import Caller
from domain.errors import CohortError, ErrorCode
from domain.groups import GroupSummary
from domain.policy import Level, Principal
from storage import group_views, groups, snapshots
from storage.audit import Actor
from storage.tables import AUDIT
from tests.storage.worlds import PEPPER, World


async def test_summaries(world: World) -> None:
    async with world.database.read() as tx:
        found = await group_views.summaries(tx, await world.principal("rosa"))
    assert found == [
        GroupSummary(
            id="research",
            name="Research",
            parent="acme",
            direct=True,
            access_level=Level.CONFIDENTIAL,
            admin_level=2,
            permissions=["completions:create", "models:*", "products:read"],
        ),
        GroupSummary(
            id="acme",
            name="Acme",
            parent=None,
            direct=False,
            access_level=Level.INTERNAL,
            admin_level=0,
            permissions=[],
        ),
    ]


async def test_a_role_shows_in_the_summary(world: World) -> None:
    async with world.database.read() as tx:
        found = await group_views.summaries(tx, await world.principal("both"))
    assert [(one.id, one.admin_level) for one in found] == [("research", 0), ("sales", 0), ("acme", 0)]


@pytest.mark.parametrize(
    ("user", "group", "member"), [("rosa", "research", True), ("rosa", "acme", False), ("rosa", "lab", False)]
)
async def test_permissions_say_where_they_come_from(world: World, user: str, group: str, member: bool) -> None:
    async with world.database.read() as tx:
        found = await group_views.permissions(tx, await world.principal(user), group)
    assert (found.group_id, found.member) == (group, member)
    assert ("products:read", "acme", "shared") in [(p.permission, p.source, p.kind) for p in found.permissions]
    assert all(p.kind == "shared" or p.source == group for p in found.permissions)


async def test_permissions_say_what_of_them_reaches_the_caller(world: World) -> None:
    async with world.database.write() as tx:
        narrow = await groups.create_key(tx, "rosa", pepper=PEPPER, scopes=["models:read", "products:*"])
    async with world.database.read() as tx:
        mine = await group_views.permissions(tx, await world.principal("rosa"), "research")
        [taken] = await snapshots.take(tx, [Caller(key_id=narrow.id, user_id="rosa")])
        assert isinstance(taken, Principal)
        scoped = await group_views.permissions(tx, taken, "research")
        below = await group_views.permissions(tx, await world.principal("rosa"), "lab")
        capped = await group_views.permissions(tx, await world.principal("both"), "research")
    assert {one.permission: one.yours for one in mine.permissions} == {
        "models:*": ["models:*"],
        "products:read": ["products:read"],
        "completions:create": ["completions:create"],
    }
    assert {one.permission: one.yours for one in scoped.permissions} == {
        "models:*": ["models:read"],
        "products:read": ["products:read"],
        "completions:create": [],
    }
    assert (mine.admin_level, mine.your_admin_level, mine.administered) == (2, 2, True)
    assert (capped.admin_level, capped.your_admin_level, capped.administered) == (2, 0, False)
    assert (below.your_admin_level, below.administered) == (0, True)
    assert [one.yours for one in below.permissions] == [[]] * len(below.permissions)


@pytest.mark.parametrize("user", ["rosa", "pat", "sam"])
async def test_hidden_groups_are_absent(world: World, user: str) -> None:
    principal = await world.principal(user)
    bodies = set[str]()
    for group in ("platform", "nowhere", "a\x00", "x" * 64, "' OR 1=1"):
        async with world.database.read() as tx:
            with pytest.raises(CohortError) as refusal:
                await group_views.permissions(tx, principal, group)
        bodies.add(refusal.value.body().model_dump_json())
    assert len(bodies) == 1


async def test_a_platform_administrator_sees_every_group_but_no_absent_one(world: World) -> None:
    root = await world.principal("root")
    async with world.database.read() as tx:
        assert (await group_views.permissions(tx, root, "partner")).member is False
        with pytest.raises(CohortError, match="no such group"):
            await group_views.permissions(tx, root, "nowhere")


async def test_refused_changes(world: World) -> None:
    database = world.database
    with pytest.raises(CohortError) as taken:
        async with database.write() as tx:
            await groups.create_group(tx, "acme", name="Again")
    assert taken.value.code is ErrorCode.CONFLICT
    for wrong in ["Acme", "", "a" * 65, "a b"]:
        with pytest.raises(CohortError, match="id: must have the shape"):
            async with database.write() as tx:
                await groups.create_group(tx, wrong, name="Wrong")
    with pytest.raises(CohortError, match="parent: there is no such group"):
        async with database.write() as tx:
            await groups.create_group(tx, "new", name="New", parent="nowhere")
    with pytest.raises(CohortError, match=r"permissions: 'everything'"):
        async with database.write() as tx:
            await groups.create_group(tx, "new", name="New", permissions=["everything"])
    with pytest.raises(CohortError, match="groups: must be groups that"):
        async with database.write() as tx:
            await groups.create_key(tx, "sam", pepper=PEPPER, groups=["partner"])
    with pytest.raises(CohortError, match="no such user"):
        async with database.write() as tx:
            await groups.create_key(tx, "nobody", pepper=PEPPER)
    with pytest.raises(CohortError) as absent:
        async with database.write() as tx:
            await groups.revoke_key(tx, "0" * 16)
    assert absent.value.code is ErrorCode.NOT_FOUND


async def test_changes_are_audited_under_the_actors_own_name(world: World) -> None:
    by = Actor.of(await world.principal("root", override="acme"), "corr-1")
    async with world.database.write() as tx:
        key = await groups.create_key(tx, "sam", pepper=PEPPER, by=by)
    async with world.database.read() as tx:
        row = (await tx.execute(select(AUDIT).where(AUDIT.c.correlation_id == "corr-1"))).one()
    assert (row.user_id, row.group_id, row.override) == ("root", "acme", "acme")
    assert (row.operation, row.object, row.decision) == ("keys_create", f"key:{key.id}", "allowed")
