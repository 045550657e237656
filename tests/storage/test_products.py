"""The catalogue: changes and their versions and epochs, reads, and rows that databases dislike."""

import asyncio
from collections.abc import Sequence

import pytest

from domain.calls import Provenance
from domain.errors import CohortError, ErrorCode
from domain.policy import Level
from domain.products import ProductFilters, ProductRow
from storage import documents, epochs, products, provenance
from storage.documents import NewDocument
from storage.objects import Upserted
from tests.storage.catalogue import row
from tests.storage.worlds import World

WATCHED = [
    *(f"group:{group}" for group in ("acme", "research", "sales", "partner")),
    *("level:public", "level:internal", "level:confidential", "public", "policy"),
]


async def put(world: World, owner: str, *rows: ProductRow, level: Level = Level.INTERNAL) -> Upserted:
    async with world.database.write() as tx:
        return await products.upsert(tx, owner, rows, default_level=level)


async def risen(world: World, *changes: tuple[str, Sequence[ProductRow]]) -> set[str]:
    async with world.database.read() as tx:
        before = await epochs.read(tx, WATCHED)
    async with world.database.write() as tx:
        for owner, rows in changes:
            await products.upsert(tx, owner, rows, default_level=Level.INTERNAL)
    async with world.database.read() as tx:
        after = await epochs.read(tx, WATCHED)
    assert all(after[scope] - before[scope] in (0, 1) for scope in WATCHED)
    return {scope for scope in WATCHED if after[scope] != before[scope]}


async def test_upsert_tells_what_it_did(world: World) -> None:
    first = await put(world, "acme", row("lamp"), row("tent"))
    assert (first.accepted, first.unchanged, first.versions) == (2, 0, {"lamp": 1, "tent": 1})
    again = await put(world, "acme", row("lamp"), row("tent"))
    assert (again.accepted, again.unchanged, again.versions) == (0, 2, {"lamp": 1, "tent": 1})
    price = await put(world, "acme", row("lamp", price=11), row("tent"))
    assert [(one.id, one.change, one.version) for one in price.rows] == [
        ("lamp", "changed", 2),
        ("tent", "unchanged", 1),
    ]
    access = await put(world, "acme", row("lamp", price=11, restricted_groups=["sales"]))
    assert access.versions == {"lamp": 3}
    assert access.rows[0].access.restricted_groups == {"sales"}


async def test_a_deleted_id_goes_on_counting(world: World) -> None:
    await put(world, "acme", row("lamp", attributes={"colour": "red"}, allowed_groups=["partner"]))
    await put(world, "acme", row("lamp", price=11))
    async with world.database.write() as tx:
        assert await products.delete(tx, "acme", ["lamp", "absent"]) == ["lamp"]
        assert await products.delete(tx, "acme", ["lamp"]) == []
    assert (await put(world, "acme", row("lamp"))).versions == {"lamp": 3}


async def test_changes_raise_the_epochs_of_whom_they_concern(world: World) -> None:
    assert await risen(world, ("acme", [row("lamp")])) == {"group:acme"}
    assert await risen(world, ("acme", [row("lamp")])) == set()
    restricted = row("lamp", restricted_groups=["sales"], allowed_groups=["partner"])
    assert await risen(world, ("acme", [restricted])) == {
        *("group:acme", "group:sales", "group:partner"),
    }
    opened = row("lamp", access_level=Level.PUBLIC)
    assert await risen(world, ("acme", [opened])) == {
        *("group:acme", "group:sales", "group:partner", "public"),
    }
    assert "public" in await risen(world, ("acme", [row("lamp", access_level=Level.CONFIDENTIAL)]))
    twice = [("acme", [row("tent")]), ("acme", [row("tent", price=3)]), ("sales", [row("tent")])]
    assert await risen(world, *twice) == {"group:acme", "group:sales"}


async def test_racing_changes_have_versions_of_their_own(world: World) -> None:
    done = await asyncio.gather(*(put(world, "acme", row("lamp", price=price)) for price in range(1, 9)))
    assert sorted(one.versions["lamp"] for one in done) == list(range(1, 9))


async def test_get_prefers_the_nearest_owner(world: World) -> None:
    for owner in ("acme", "research", "partner"):
        await put(world, owner, row("lamp", access_level=Level.PUBLIC))

    async def owner_for(user: str, owner: str | None = None, **narrowing: str) -> str:
        principal = await world.principal(user, **narrowing)
        async with world.database.read() as tx:
            return (await products.get(tx, principal, "lamp", owner)).owner_group

    assert await owner_for("rosa") == "research"
    assert await owner_for("rosa", context="acme") == "acme"
    assert await owner_for("sam") == "acme"
    assert await owner_for("pat") == "partner"
    assert await owner_for("root") == "acme"
    assert await owner_for("rosa", "partner") == "partner"


async def test_hidden_is_absent(world: World) -> None:
    await put(world, "research", row("secret"))
    await put(world, "acme", row("denied", restricted_groups=["sales"]))
    sam = await world.principal("sam")
    bodies = set[str]()
    async with world.database.read() as tx:
        for product, owner in [
            ("secret", None),
            ("secret", "research"),
            ("denied", "acme"),
            ("absent", None),
            ("absent", "nowhere"),
            ("a\x00", None),
            ("secret", "R\x00"),
        ]:
            with pytest.raises(CohortError) as refusal:
                await products.get(tx, sam, product, owner)
            assert refusal.value.code is ErrorCode.NOT_FOUND
            bodies.add(refusal.value.body().model_dump_json())
    assert len(bodies) == 1


async def test_recheck_keeps_order_and_drops_what_went_or_was_hidden(world: World) -> None:
    await put(world, "acme", *(row(f"p{number}", price=number) for number in range(4)))
    await put(world, "research", row("p9"))
    sam = await world.principal("sam")
    refs = [("acme", "p3"), ("research", "p9"), ("acme", "gone"), ("acme", "p1"), ("acme", "p3"), ("acme", "p0")]
    async with world.database.read() as tx:
        assert [one.id for one in await products.recheck(tx, sam, refs)] == ["p3", "p1", "p0"]
        dear = await products.recheck(tx, sam, refs, ProductFilters(min_price=1))
        assert [one.id for one in dear] == ["p3", "p1"]
        assert await products.recheck(tx, sam, []) == []


async def test_rows_that_databases_dislike(world: World) -> None:
    odd = row(
        "odd",
        title="a\x00b ß 名",
        description="\x00" * 3,
        attributes={"n\x00": "v\x00", "long": "x" * 5_000, "big": 2**70, "=": "=", "": ""},
        category="\x00",
    )
    await put(world, "acme", odd)
    assert (await put(world, "acme", odd)).unchanged == 1
    sam = await world.principal("sam")
    async with world.database.read() as tx:
        found = await products.get(tx, sam, "odd")
        for name, value in odd.attributes.items():
            filters = ProductFilters(attributes={name: value})
            assert (await products.matching(tx, sam, filters)).total == 1, (name, value)
        assert (await products.matching(tx, sam, ProductFilters(category="\x00"))).total == 1
        await products.matching(tx, sam, ProductFilters(attributes={"x": float("nan")}))
    assert "\x00" not in found.title
    assert found.attributes["big"] == 2**70


async def test_no_such_owner(world: World) -> None:
    with pytest.raises(CohortError, match="group: there is no such group"):
        await put(world, "nowhere", row("lamp"))
    with pytest.raises(ValueError, match="different ids"):
        await put(world, "acme", row("lamp"), row("lamp"))


async def test_documents(world: World) -> None:
    plan = NewDocument("plan", "Plan", "plans/1", "We plan.", Level.INTERNAL, restricted_groups=frozenset({"lab"}))
    note = NewDocument("note", "Note", "notes/1", "We note.", Level.CONFIDENTIAL, sensitive=True)
    async with world.database.write() as tx:
        done = await documents.upsert(tx, "research", [plan, note])
        assert done.versions == {"plan": 1, "note": 1}
        assert (await documents.upsert(tx, "research", [plan, note])).unchanged == 2
        assert await documents.ids_of(tx, "research") == {"plan", "note"}
    refs = [("research", "note"), ("research", "plan"), ("acme", "plan")]
    rosa, lena = await world.principal("rosa"), await world.principal("lena")
    async with world.database.read() as tx:
        assert [one.title for one in await documents.recheck(tx, rosa, refs)] == ["Plan"]
        assert await documents.recheck(tx, lena, refs) == []
    async with world.database.write() as tx:
        assert await documents.delete(tx, "research", ["plan"]) == ["plan"]


async def test_provenance_is_authorised_again(world: World) -> None:
    await put(world, "acme", row("lamp"))
    async with world.database.write() as tx:
        await documents.upsert(tx, "acme", [NewDocument("plan", "Plan", "p", "text", Level.INTERNAL)])
    lamp = Provenance(kind="product", owner_group="acme", id="lamp", version=1)
    plan = Provenance(kind="document", owner_group="acme", id="plan", version=1)
    sam, pat = await world.principal("sam"), await world.principal("pat")
    asks = [
        (sam, [lamp, plan]),
        (pat, [lamp]),
        (sam, []),
        (sam, [lamp.model_copy(update={"version": 2})]),
        (sam, [lamp.model_copy(update={"id": "absent"})]),
        (sam, [lamp.model_copy(update={"kind": "rumour"})]),
    ]
    async with world.database.read() as tx:
        assert await provenance.authorised(tx, asks) == [True, False, True, False, False, False]
    await put(world, "acme", row("lamp", restricted_groups=["sales"]))
    async with world.database.read() as tx:
        assert await provenance.authorised(tx, asks[:1]) == [False]
