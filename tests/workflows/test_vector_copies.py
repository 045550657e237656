"""The vector copy follows administrative changes; where it cannot, the change holds all the same."""

import pytest
from sqlalchemy import update

from domain.errors import ErrorCode
from domain.policy import All, Level, Principal, visibility
from domain.products import ProductFilters
from storage import products, snapshots
from storage.indexing import Indexer
from storage.policy_sql import ObjectKind
from storage.reindexing import Reindexer
from storage.tables import GROUPS
from storage.vector_rows import Ref
from tests.storage.catalogue import row
from tests.support.world import World


async def stock(ruled: World, *ids: str) -> None:
    """Products of sales, in SQL and in the vector copy."""
    async with ruled.parts.database.write() as tx:
        await products.upsert(tx, "acme-sales", [row(one) for one in ids], default_level=Level.INTERNAL)
    await Indexer(ruled.parts.database, ruled.parts.vectors, ruled.parts.embedder).products("acme-sales", ids)


async def found(ruled: World, user: str, text: str) -> list[Ref]:
    """What the vector copy alone finds for this user."""
    async with ruled.parts.database.read() as tx:
        [principal] = await snapshots.take(tx, [ruled.call(user, "products_search").caller])
    assert isinstance(principal, Principal)
    [vector] = await ruled.parts.embedder.embed_queries([text])
    hits = await ruled.parts.vectors.search_products(visibility(principal), ProductFilters(), [], text, vector)
    return [hit.ref for hit in hits]


async def test_the_vector_copy_follows_a_change_of_access(ruled: World) -> None:
    await stock(ruled, "lamp", "tent")
    assert await found(ruled, "grace", "lamp") == []
    call = ruled.call("root", "products_access", {"id": "lamp", "allowed_groups": ["acme-research"]})
    assert (await ruled.answer(call)).error is None
    assert await found(ruled, "grace", "lamp") == [Ref("acme-sales", "lamp")]
    assert await ruled.parts.vectors.product_versions([Ref("acme-sales", "lamp")]) == {Ref("acme-sales", "lamp"): 2}
    back = ruled.call("root", "products_access", {"id": "lamp", "allowed_groups": [], "restricted_groups": ["partner"]})
    assert (await ruled.answer(back)).error is None
    assert await found(ruled, "grace", "lamp") == []


async def test_the_vector_copy_of_a_document_follows_without_a_new_embedding(
    ruled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = "\n\n".join(f"# Part {number}\n\n{'Words of it. ' * 60}" for number in range(5))
    await ruled.add_document("acme-sales", "plan", parts)
    async with ruled.parts.database.write() as tx:
        values = {"permissions": ["documents:write"]}
        await tx.execute(update(GROUPS).where(GROUPS.c.id == "acme-sales").values(values))

    async def nothing(_self: Indexer, _owner: str, _ids: list[str]) -> None:
        """What would make passages anew from SQL."""

    monkeypatch.setattr(Indexer, "documents", nothing)
    call = ruled.call("root", "documents_access", {"id": "plan", "sensitive": True, "allowed_groups": ["acme-sales"]})
    assert (await ruled.answer(call)).error is None
    held = await ruled.parts.vectors.document_versions("acme-sales", ["plan"])
    assert held == {Ref("acme-sales", "plan"): 2}


async def test_a_copy_that_lags_behind_is_made_anew_and_not_passed_off_as_current(ruled: World) -> None:
    """New content is in SQL, its copy is not; the change of access must not give the old copy the new version."""
    await stock(ruled, "lamp")
    async with ruled.parts.database.write() as tx:
        newer = row("lamp", title="Submarine", category="Boats")
        await products.upsert(tx, "acme-sales", [newer], default_level=Level.INTERNAL)
    call = ruled.call("root", "products_access", {"id": "lamp", "allowed_groups": ["acme-research"]})
    assert (await ruled.answer(call)).error is None
    ref = Ref("acme-sales", "lamp")
    assert await ruled.parts.vectors.product_versions([ref]) == {ref: 3}
    [vector] = await ruled.parts.embedder.embed_queries(["Submarine"])
    [hit] = await ruled.parts.vectors.search_products(All(()), ProductFilters(), [], "Submarine", vector)
    assert hit.by_words


async def test_a_copy_that_cannot_follow_leaves_the_change_and_says_so(
    ruled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stock(ruled, "lamp")

    async def away(_self: Reindexer, _kind: ObjectKind, _owner: str, _id: str, _version: int) -> None:
        raise RuntimeError("lance error: no such bucket")

    given = {"id": "lamp", "allowed_groups": ["acme-research"]}
    with monkeypatch.context() as patched:
        patched.setattr(Reindexer, "access", away)
        outcome = await ruled.answer(ruled.call("root", "products_access", given))
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.retryable) == (ErrorCode.PROVIDER_UNAVAILABLE, True)
    assert "holds" in outcome.error.message
    assert "bucket" not in outcome.error.message
    again = await ruled.answer(ruled.call("root", "products_access", given))
    assert again.data is not None
    assert (again.data["changed"], again.data["allowedGroups"]) == (False, ["acme-research"])
    assert await found(ruled, "grace", "lamp") == [Ref("acme-sales", "lamp")]


async def test_the_vector_copy_follows_a_transfer(ruled: World) -> None:
    await stock(ruled, "lamp", "tent")
    call = ruled.call("root", "groups_delete", {"id": "acme-sales", "transfer_to": "acme"})
    outcome = await ruled.answer(call)
    assert outcome.error is None, outcome.error
    versions = await ruled.parts.vectors.product_versions([Ref("acme", "lamp"), Ref("acme-sales", "lamp")])
    assert versions == {Ref("acme", "lamp"): 2}
    assert await found(ruled, "sam", "lamp") != []
    assert await found(ruled, "grace", "lamp") == await found(ruled, "sam", "lamp")
