"""Documents cut into passages."""

import re
from pathlib import Path

import pytest

import storage
from storage.chunks import HUGE, MOST, count_tokens, first_heading, passages_of

DEMO = Path(storage.__file__).parent / "demo" / "documents"
PARAGRAPH = "Ten words make this sentence as long as it is. " * 5


def test_a_short_document_is_one_passage_under_its_title() -> None:
    assert passages_of("Care", "Wash it cold.\n\nDry it flat.") == ["Care\n\nWash it cold.\n\nDry it flat."]


def test_headings_lead_to_each_passage() -> None:
    long = PARAGRAPH * 3
    text = f"# Care\n\n{long}\n\n## Washing\n\n{long}\n\n### By hand\n\n{long}\n\n## Drying\n\nFlat."
    made = passages_of("Care", text)
    assert made[0].startswith("Care\n\nTen words"), "a first heading that repeats the title is left out"
    heads = [passage.split("\n")[0] for passage in made]
    assert heads == ["Care", "Care > Washing", "Care > Washing > By hand", "Care > Drying"]


def test_short_sections_share_a_passage() -> None:
    [made] = passages_of("Care", "Intro.\n\n## Washing\n\nCold.\n\n## Drying\n\nFlat.")
    assert made == "Care\n\nIntro.\n\nWashing\n\nCold.\n\nDrying\n\nFlat."


def test_blocks_stay_whole() -> None:
    table = "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 20
    code = "```\n" + "do it\n\n" * 20 + "```"
    items = "- one\n- two\n\n  still two\n- three"
    for block in (table.strip(), code, items, PARAGRAPH.strip()):
        made = passages_of("T", f"{PARAGRAPH}\n\n{block}\n\n{PARAGRAPH}\n\n{PARAGRAPH}")
        assert sum(block in passage for passage in made) == 1


def test_passages_have_the_size_that_the_model_reads() -> None:
    made = passages_of("T", "\n\n".join([PARAGRAPH] * 40))
    sizes = [count_tokens(passage) for passage in made]
    assert all(size <= MOST + 5 for size in sizes)
    assert all(size >= MOST / 2 for size in sizes[:-1])


@pytest.mark.parametrize(
    "text",
    [
        *("a" * 50_000, "word " * 20_000, "日本語。" * 10_000, "One. " * 20_000, "- " * 5_000 + "a", "> " * 5_000),
        *("#\n" * 20_000, "[" * 20_000, "*" * 20_000, "# " + "w " * 50_000 + "\n\nx", "a\n\n" * 20_000),
    ],
)
def test_hostile_texts_are_cut_into_bounded_passages(text: str) -> None:
    made = passages_of("T", text)
    assert made
    assert all(count_tokens(passage) <= HUGE + 10 for passage in made)


def test_nothing_is_lost() -> None:
    for path in sorted(DEMO.glob("*/*/*.md")):
        body = path.read_text().split("---\n", 2)[2]
        made = "\n".join(passages_of("Some title", body))
        for word in set(re.findall(r"\w+", body)):
            assert word in made, (path.name, word)


@pytest.mark.parametrize("text", ["", "\n\n", "   "])
def test_nothing_is_still_a_passage(text: str) -> None:
    assert passages_of("Title", text) == ["Title"]


def test_a_document_of_headings_keeps_them() -> None:
    assert passages_of("T", "# A\n## B\n## C") == ["T > A\n\nA > B\n\nA > C"]


@pytest.mark.parametrize(
    ("text", "heading"),
    [
        ("# A *title*\n\ntext", "A title"),
        ("A\n=\n", "A"),
        ("## B\n\n# A", "A"),
        ("text", None),
        ("```\n# A\n```", None),
    ],
)
def test_the_first_heading_is_a_title(text: str, heading: str | None) -> None:
    assert first_heading(text) == heading
