"""The vector tables: what a search finds, in which order, and what writers may do to each other."""

import asyncio
import random
import string
import sys
from pathlib import Path

import pytest

from domain.policy import Level, Principal, visibility, visible
from domain.products import ProductFilters
from storage.indexing import filter_tokens
from storage.policy_lance import filter_of, literal
from storage.vector_rows import ProductEntry, Ref
from storage.vectors import Vectors
from tests.storage.vector_worlds import DIMENSIONS, access, member, passages, product, vector_of

ME = member("acme")
INJECTIONS = [
    "' OR '1'='1",
    "'; DROP TABLE products; --",
    "\\' OR true --",
    'a" OR "1"="1',
    "`acme`",
    "/* */",
    "acme\x00",
    "ACME' COLLATE NOCASE",
    "日本'語",
    "%",
    "[array]",
]


@pytest.fixture
async def vectors(tmp_path: Path) -> Vectors:
    """Empty tables."""
    return await Vectors.open(str(tmp_path), dimensions=DIMENSIONS)


async def found(
    vectors: Vectors, text: str, *, principal: Principal = ME, filters: ProductFilters | None = None, depth: int = 1_000
) -> list[str]:
    asked = filters or ProductFilters()
    hits = await vectors.search_products(
        visibility(principal), asked, filter_tokens(asked), text, vector_of(text), depth=depth
    )
    return [hit.ref.id for hit in hits]


async def test_words_and_meaning_are_both_found(vectors: Vectors) -> None:
    await vectors.upsert_products(
        [
            product("by-word", "zephyrine item"),
            product("by-meaning", "some lamplight"),
            product("by-both", "zephyrine lamp"),
            product("neither", "some bread"),
        ]
    )
    assert await found(vectors, "zephyrine lamp") == ["by-both", "by-word", "by-meaning", "neither"]
    await vectors.optimize("products")
    assert await found(vectors, "zephyrine lamp") == ["by-both", "by-word", "by-meaning", "neither"]


async def test_words_are_found_in_their_other_forms(vectors: Vectors) -> None:
    await vectors.upsert_products([product("a", "Running shoes"), product("b", "Café crème")])
    for text, first in [("run", "a"), ("RUNS", "a"), ("cafe", "b")]:
        assert (await found(vectors, text))[0] == first


async def test_equal_rows_have_one_order(vectors: Vectors) -> None:
    ids = [f"p{number}" for number in range(30)]
    random.Random(1).shuffle(ids)
    for id in ids:
        await vectors.upsert_products([product(id, "the same lamp")])
    assert await found(vectors, "lamp") == sorted(ids)
    assert await found(vectors, "") == sorted(ids)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", '"', "'", "AND", "a AND (b", "lamp^2~*?:", "+lamp -stove", "\\", "\x00", "\ud800", "日本語"),
        *("😀" * 50, "x" * 1_000, "lamp " * 200, "%s{}", "the", "[]{}()<>|&!", *INJECTIONS),
    ],
)
async def test_any_query_is_answered(vectors: Vectors, text: str) -> None:
    await vectors.upsert_products([product("a", "a lamp"), product("b", "a stove")])
    assert sorted(await found(vectors, text)) == ["a", "b"]
    assert len(await vectors.search_passages(visibility(ME), text, vector_of(text))) == 0


async def test_filters_narrow(vectors: Vectors) -> None:
    await vectors.upsert_products(
        [
            product("red", "a lamp", price=5, attributes={"colour": "red", "waterproof": True, "watts": 5}),
            product("blue", "a lamp", price=10, attributes={"colour": "blue", "waterproof": False, "watts": 5.5}),
            product("stove", "a stove", price=15, category="Cooking", attributes={"colour": "red"}),
        ]
    )

    async def passing(**filters: object) -> set[str]:
        return set(await found(vectors, "lamp", filters=ProductFilters.model_validate(filters)))

    assert await passing() == {"red", "blue", "stove"}
    assert await passing(category="Lighting") == {"red", "blue"}
    assert await passing(category="lighting") == set()
    assert await passing(attributes={"colour": "red"}) == {"red", "stove"}
    assert await passing(attributes={"colour": "red", "waterproof": True}) == {"red"}
    assert await passing(attributes={"waterproof": 1}) == set()
    assert await passing(attributes={"watts": 5.0}) == {"red"}
    assert await passing(min_price=10) == {"blue", "stove"}
    assert await passing(min_price=5, max_price=10) == {"red", "blue"}
    assert await passing(min_price=10.01, max_price=14.99) == set()


@pytest.mark.parametrize("text", INJECTIONS)
async def test_no_filter_value_is_read_as_a_filter(vectors: Vectors, text: str) -> None:
    await vectors.upsert_products(
        [product("plain", "a lamp"), product("odd", "a lamp", category=text, attributes={text: text, "colour": text})]
    )
    for filters in (
        ProductFilters(category=text),
        ProductFilters(attributes={text: text}),
        ProductFilters(attributes={"colour": text}),
    ):
        assert await found(vectors, "lamp", filters=filters) == ["odd"]
    stranger = member(text)
    with pytest.raises(ValueError, match="no group id"):
        await found(vectors, "lamp", principal=stranger)
    with pytest.raises(ValueError, match="cannot be part of a filter"):
        literal(text + "'")


async def test_exactly_the_visible_rows_are_found(vectors: Vectors) -> None:
    """Every caller of a random world against every object of it, compared with the rule itself."""
    chance = random.Random(20)
    groups = list("abcdef")
    entries: list[ProductEntry] = []
    for number in range(600):
        who = access(
            chance.choice(groups),
            chance.choice(list(Level)),
            allowed_groups=chance.sample(groups, chance.choice([0, 0, 1, 2])),
            restricted_groups=chance.sample(groups, chance.choice([0, 0, 0, 1])),
            sensitive=chance.random() < 0.3,
        )
        entries.append(product(f"p{number:03}", "a lamp" if number % 2 else "a stove", who=who))
    await vectors.upsert_products(entries)
    await vectors.optimize("products")
    for _ in range(60):
        direct = chance.sample(groups, chance.choice([0, 1, 1, 2]))
        effective = sorted({*direct, *chance.sample(groups, chance.choice([0, 1, 2]))})
        principal = Principal(
            user_id="u",
            key_id="k",
            direct=tuple(direct),
            effective=tuple(effective),
            closure=tuple(sorted({*effective, *chance.sample(groups, chance.choice([0, 1]))})),
            clearance=chance.choice(list(Level)),
            grants=(),
            billing_group="a",
        )
        expected = {entry.id for entry in entries if visible(principal, entry.access)}
        shown = await found(vectors, "lamp", principal=principal)
        assert len(shown) == len(set(shown))
        assert set(shown) == expected, principal
        assert await vectors.count("products", visibility(principal)) == len(expected)


async def test_the_best_rows_are_kept_at_a_small_depth(vectors: Vectors) -> None:
    await vectors.upsert_products([product(f"s{number}", "a stove") for number in range(50)])
    await vectors.upsert_products([product("lamp", "a lamp")])
    assert (await found(vectors, "lamp", depth=3))[0] == "lamp"
    assert len(await found(vectors, "lamp", depth=3)) == 3


async def test_a_row_is_written_once_and_never_by_an_older_version(vectors: Vectors) -> None:
    await vectors.upsert_products([product("a", "a lamp", version=2)])
    await vectors.upsert_products([product("a", "a lamp", version=2)])
    await vectors.upsert_products([product("a", "a stove", version=1, who=access(level=Level.PUBLIC))])
    assert await vectors.count("products") == 1
    assert await vectors.product_versions([Ref("acme", "a")]) == {Ref("acme", "a"): 2}
    await vectors.upsert_products([product("a", "a boat", version=3, who=access(level=Level.PUBLIC))])
    assert await found(vectors, "boat", principal=member("other")) == ["a"]
    await vectors.delete_products([Ref("acme", "a"), Ref("acme", "unknown")])
    assert await vectors.count("products") == 0


async def test_one_group_never_touches_the_rows_of_another(vectors: Vectors) -> None:
    await vectors.upsert_products([product("a", "a lamp"), product("a", "a stove", who=access("other"))])
    await vectors.delete_products([Ref("other", "a")])
    assert await found(vectors, "lamp") == ["a"]


async def test_a_document_is_replaced_whole(vectors: Vectors) -> None:
    await vectors.upsert_document(passages("doc", ["a lamp", "a stove", "a tent"]))
    await vectors.upsert_document(passages("other", ["a rope"]))
    assert await vectors.document_versions("acme", ["doc", "none"]) == {Ref("acme", "doc"): 1}
    await vectors.upsert_document(passages("doc", ["a boat"], version=2))
    shown = await vectors.search_passages(visibility(ME), "boat", vector_of("boat"))
    assert [(passage.ref.id, passage.text, passage.version) for passage in shown] == [
        ("doc", "a boat", 2),
        ("other", "a rope", 1),
    ]
    await vectors.upsert_document(passages("doc", ["late", "and stale"], version=1))
    assert await vectors.document_versions("acme", ["doc"]) == {Ref("acme", "doc"): None}, "mixed: to be copied again"
    await vectors.upsert_document(passages("doc", ["a boat"], version=2))
    assert await vectors.document_versions("acme", ["doc"]) == {Ref("acme", "doc"): 2}
    await vectors.delete_documents("acme", ["doc"])
    assert await vectors.document_versions("acme", ["doc", "other"]) == {Ref("acme", "other"): 1}


async def test_what_another_process_writes_is_seen_at_once(tmp_path: Path) -> None:
    one, other = [await Vectors.open(str(tmp_path), dimensions=DIMENSIONS) for _ in range(2)]
    await one.upsert_products([product("a", "a lamp")])
    assert await found(other, "lamp") == ["a"]
    await one.upsert_products([product("a", "a lamp", version=2, who=access(restricted_groups=["acme"]))])
    assert await found(other, "lamp") == []


async def test_racing_processes_leave_each_row_once(tmp_path: Path) -> None:
    await Vectors.open(str(tmp_path), dimensions=DIMENSIONS)
    program = "import sys, asyncio; from tests.storage.test_vectors import race; asyncio.run(race(*sys.argv[1:]))"
    racers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(tmp_path), str(number))
        for number in (1, 2, 3)
    ]
    assert [await racer.wait() for racer in racers] == [0, 0, 0]
    vectors = await Vectors.open(str(tmp_path), dimensions=DIMENSIONS)
    assert await vectors.count("products") == 40
    versions = await vectors.product_versions([Ref("acme", f"p{number}") for number in range(40)])
    assert set(versions.values()) == {30}


async def race(folder: str, number: str) -> None:
    """Write the same rows over and over, in rising versions: what each of several processes does at once."""
    vectors = await Vectors.open(folder, dimensions=DIMENSIONS)
    for version in range(int(number), 31, 3):
        await vectors.upsert_products([product(f"p{at}", "a lamp", version=version) for at in range(40)])


async def test_opening_twice_at_once_makes_one_set_of_tables(tmp_path: Path) -> None:
    opened = await asyncio.gather(*(Vectors.open(str(tmp_path), dimensions=DIMENSIONS) for _ in range(4)))
    await opened[0].upsert_products([product("a", "a lamp")])
    assert [await found(vectors, "lamp") for vectors in opened] == [["a"]] * 4


async def test_a_large_table_is_searched_through_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.vectors.EXACT_ROWS", 100)
    chance = random.Random(3)
    vectors = await Vectors.open(str(tmp_path), dimensions=DIMENSIONS, index_from=1_000)
    rows = [product(f"p{number}", "".join(chance.choices(string.ascii_lowercase, k=5))) for number in range(1_500)]
    few = [product(f"few{number}", "a boat", who=access("few")) for number in range(5)]
    await vectors.upsert_products([*rows, *few, product("lamp", "a lamp")])
    await vectors.optimize("products")
    assert (await found(vectors, "lamp", depth=20))[0] == "lamp"
    assert await found(vectors, "boat", principal=member("few")) == sorted(entry.id for entry in few)
    again = await Vectors.open(str(tmp_path), dimensions=DIMENSIONS)
    assert (await found(again, "lamp", depth=20))[0] == "lamp"


def test_an_empty_condition_lets_nothing_through_by_accident() -> None:
    nobody = member()
    assert "owner_group IN" not in filter_of(visibility(nobody))
