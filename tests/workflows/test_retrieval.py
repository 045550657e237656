"""What a completion is given to rest on: passages and products, under its caller's rights."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from activities.find_products import FindProducts
from activities.parts import Parts
from activities.retrieve_documents import PER_DOCUMENT, RetrieveDocuments
from domain.calls import AdmittedCall, Call, Caller, CallLabels
from domain.completions import CompletionInput, CompletionJob, Source
from domain.policy import Level, Principal
from domain.products import ProductRow
from storage import documents, groups, migrate, products
from storage.documents import NewDocument
from storage.indexing import Indexer
from tests.storage.vector_worlds import member

FIRE = "In case of fire leave by the green door and meet under the oak at the gate."


@dataclass
class Library:
    """Storage with some documents and products, and the two activities on it."""

    parts: Parts

    @property
    def indexer(self) -> Indexer:
        return Indexer(self.parts.database, self.parts.vectors, self.parts.embedder)

    async def put(self, owner: str, id: str, text: str, level: Level = Level.INTERNAL, *, index: bool = True) -> None:
        async with self.parts.database.write() as tx:
            row = NewDocument(id=id, title=id.title(), source=f"{id}.md", text=text, access_level=level)
            await documents.upsert(tx, owner, [row])
        if index:
            await self.indexer.documents(owner, [id])

    async def stock(self, owner: str, level: Level = Level.INTERNAL, **columns: Any) -> None:
        row = ProductRow.model_validate({"category": "Lighting", "price": 64, **columns})
        async with self.parts.database.write() as tx:
            await products.upsert(tx, owner, [row], default_level=level)
        await self.indexer.products(owner, [row.id])

    async def passages(self, who: Principal, prompt: str, **asked: Any) -> list[Source]:
        found = await RetrieveDocuments(*self._stores()).run(job(who, prompt=prompt, **asked))
        return list(found.items)

    async def products(self, who: Principal, prompt: str, **asked: Any) -> list[Source]:
        return list((await FindProducts(*self._stores()).run(job(who, prompt=prompt, **asked))).items)

    def _stores(self) -> tuple[Any, Any, Any]:
        return self.parts.database, self.parts.vectors, self.parts.embedder


def job(who: Principal, **asked: Any) -> CompletionJob:
    call = Call(
        id="c",
        operation="completions_create",
        permission=None,
        caller=Caller(key_id="k", user_id="u"),
        labels=CallLabels(request_id="r", correlation_id="c"),
        input=CompletionInput.model_validate(asked).model_dump(mode="json"),
        deadline=0,
    )
    return CompletionJob(admitted=AdmittedCall(call=call, principal=who), cache_key=None)


@pytest_asyncio.fixture
async def library(tmp_path: Path) -> AsyncGenerator[Library]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'cohort.db'}"
    await migrate.upgrade(url)
    parts = await Parts.open(
        database_url=url,
        redis_url="unix:///nowhere",
        vectors_url=str(tmp_path / "vectors"),
        uploads_url=str(tmp_path / "uploads"),
        secret=bytes(32),
        routes=[],
    )
    try:
        async with parts.database.write() as tx:
            for group in ("acme", "partner"):
                await groups.create_group(tx, group, name=group)
        yield Library(parts)
    finally:
        await parts.close()


async def test_passages_come_ranked_with_all_that_a_citation_needs(library: Library) -> None:
    await library.put("acme", "fire", FIRE)
    await library.put("acme", "lunch", "Lunch is at noon. On Mondays there is soup.")
    first, second = await library.passages(member("acme"), "Where do we gather when it burns?")
    assert first == Source(
        kind="document",
        owner_group="acme",
        id="fire",
        version=1,
        title="Fire",
        source="fire.md",
        text=f"Fire\n\n{FIRE}",
        rank=1,
    )
    assert (second.id, second.rank) == ("lunch", 2)
    question = [{"role": "user", "content": "lunch?"}, {"role": "assistant", "content": "?"}]
    last = [*question, {"role": "user", "content": "I mean the fire."}]
    found = await RetrieveDocuments(library.parts.database, library.parts.vectors, library.parts.embedder).run(
        job(member("acme"), messages=last)
    )
    assert found.items[0].id == "fire", "the last turn is the question"


async def test_another_group_finds_nothing_of_it(library: Library) -> None:
    await library.put("acme", "fire", FIRE)
    await library.put("partner", "rules", "House rules of the partner.")
    await library.put("acme", "open", "The shop opens at nine.", Level.PUBLIC)
    found = await library.passages(member("partner"), FIRE)
    assert {source.id for source in found} == {"rules", "open"}
    assert await library.passages(member(), "fire") != []
    assert {source.id for source in await library.passages(member(), "fire")} == {"open"}


async def test_what_sql_has_changed_is_not_quoted_from_the_copy(library: Library) -> None:
    await library.put("acme", "fire", FIRE)
    await library.put("acme", "fire", "The assembly point is the pond.", index=False)
    assert await library.passages(member("acme"), "fire") == [], "the copy is of an older version"
    await library.indexer.documents("acme", ["fire"])
    [found] = await library.passages(member("acme"), "fire")
    assert (found.version, found.text) == (2, "Fire\n\nThe assembly point is the pond.")
    async with library.parts.database.write() as tx:
        await documents.delete(tx, "acme", ["fire"])
    assert await library.passages(member("acme"), "fire") == []


async def test_one_document_does_not_crowd_out_the_others(library: Library) -> None:
    await library.put("acme", "long", "\n\n".join(f"Fire drill number {n}. {FIRE * 12}" for n in range(8)))
    await library.put("acme", "short", "Fire extinguishers hang beside each door.")
    found = await library.passages(member("acme"), "fire drill", retrieval={"topK": 5})
    assert [source.id for source in found].count("long") == PER_DOCUMENT
    assert "short" in [source.id for source in found]
    parts = [source.passage for source in found if source.id == "long"]
    assert len(set(parts)) == PER_DOCUMENT, "the passages of one document are told apart"
    assert all(part and part.startswith("part ") for part in parts)
    assert [source.passage for source in found if source.id == "short"] == [None]
    assert len(await library.passages(member("acme"), "fire drill", retrieval={"topK": 1})) == 1


async def test_a_passage_is_named_by_its_headings(library: Library) -> None:
    text = f"## In the morning\n\n{FIRE * 12}\n\n## At night\n\nIn the dark follow the lamps. {FIRE * 12}"
    await library.put("acme", "drills", text)
    found = await library.passages(member("acme"), "what if it burns in the dark?")
    assert {source.passage for source in found} == {"In the morning, part 1 of 2", "At night, part 2 of 2"}


async def test_products_that_have_to_do_with_the_question(library: Library) -> None:
    about = "A table lantern for camp suppers and power cuts, with nine hours of light."
    lantern: dict[str, Any] = {"id": "ember", "sku": "LGT-0104", "title": "Ember 600 lantern", "description": about}
    await library.stock("acme", **lantern, attributes={"lumens": 600, "waterproof": True, "solar": False})
    await library.stock("acme", id="stove", title="Canister stove", description="Boils a litre in three minutes.")
    await library.stock("partner", id="lamp", title="Storm lantern", description="A lantern for stables.")
    [found] = await library.products(member("acme"), "Which lantern shall I take camping?")
    assert found.model_dump() == {
        "kind": "product",
        "owner_group": "acme",
        "id": "ember",
        "version": 1,
        "title": "Ember 600 lantern",
        "passage": None,
        "source": "product catalogue of acme",
        "text": f"Ember 600 lantern. Price 64.00 USD. Lighting. lumens 600, waterproof. {about}",
        "rank": 1,
    }
    for question in ("How many days of parental leave do I get?", "Write a poem about autumn.", "What is 2+2?"):
        assert await library.products(member("acme"), question) == []
    assert [one.id for one in await library.products(member("acme"), "Is LGT-0104 in stock for my aunt?")] == ["ember"]


async def test_look_ups_can_be_switched_off(library: Library) -> None:
    await library.put("acme", "fire", FIRE)
    await library.stock("acme", id="ember", title="Ember lantern", description="A lantern.")
    assert await library.passages(member("acme"), "fire", retrieval={"enabled": False}) == []
    assert await library.products(member("acme"), "lantern", products={"enabled": False}) == []
    assert len(await library.products(member("acme"), "lantern", products={"limit": 1})) == 1


@pytest.mark.parametrize("prompt", ["'; --", '" AND (', "\x00", "日本", "x" * 200_000, "fire " * 40_000, "😀"])
async def test_any_prompt_is_looked_up(library: Library, prompt: str) -> None:
    await library.put("acme", "fire", FIRE)
    await library.stock("acme", id="ember", title="Ember lantern", description="A lantern.")
    found = await library.passages(member("acme"), prompt)
    assert len(found) == 1
    await library.products(member("acme"), prompt)
