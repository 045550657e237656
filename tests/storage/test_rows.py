"""Lines that are no rows are refused with their field and a reason in plain words."""

import json

import pytest

from domain.ingestion import Kind
from storage.ingestion import parse
from storage.upload_lines import Line

GOOD = {"id": "lamp", "title": "Lamp", "category": "Lighting", "price": 5}


def refusal(line: bytes | str | None, kind: Kind = "products") -> tuple[str | None, str]:
    content = line.encode() if isinstance(line, str) else line
    parsing = parse(kind, [Line(7, content)])
    assert parsing.rows == ()
    [reject] = parsing.rejects
    assert reject.line == 7
    return reject.field, reject.reason


def product(**columns: object) -> str:
    return json.dumps(GOOD | columns)


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        ('{"id": "lamp", ', None, "not valid JSON at its character"),
        ("lamp,Lamp,5", None, "not valid JSON at its character 1"),
        ("[" * 5_000, None, "not valid JSON"),
        ("[1]", None, "must be a JSON object"),
        ('"lamp"', None, "must be a JSON object"),
        (b'{"id": "l\xff"}', None, "not valid UTF-8 at its byte 10"),
        ('{"id": "\\ud800"}', None, "not valid JSON"),
        (None, None, "too long"),
        (json.dumps({"id": "lamp", "price": 1}), "title", "is missing"),
        (json.dumps({"title": "Lamp"}), "id", "is missing"),
        (product(id="a b"), "id", "letters, digits"),
        (product(id="../x"), "id", "letters, digits"),
        (product(id=5), "id", "letters, digits"),
        (product(price=-1), "price", "must be 0 or more"),
        (product(price=2e9), "price", "must be 1e+09 or less"),
        (product(price="cheap"), "price", "must be a number"),
        ('{"id": "lamp", "title": "L", "category": "C", "price": NaN}', None, "not valid JSON"),
        ('{"id": "lamp", "title": "L", "category": "C", "price": Infinity}', None, "not valid JSON"),
        (product(price="nan"), "price", "must be a number"),
        (product(price="2"), "price", "must be a number, written without quotes"),
        (product(price=True), "price", "must be a number"),
        (product(sensitive="yes"), "sensitive", "must be true or false"),
        (product(title=""), "title", "must not be empty"),
        (product(title="   "), "title", "must not be empty"),
        (product(category="\t"), "category", "must not be empty"),
        (product(title="x" * 301), "title", "300 characters"),
        (product(title=None), "title", "must be a text"),
        (product(currency="usd"), "currency", "three capital letters"),
        (product(access_level="secret"), "access_level", "must be one of 'public', 'internal' or 'confidential'"),
        (product(attributes={"colour": None}), "attributes.colour", "text, a number, true or false"),
        (product(attributes={"sizes": [1, 2]}), "attributes.sizes", "text, a number, true or false"),
        (product(attributes=[]), "attributes", "must be"),
        (product(allowed_groups="acme"), "allowed_groups", "must be a list"),
        (product(prise=5), "prise", "did you mean 'price'?"),
        (product(Title="x"), "Title", "did you mean 'title'?"),
        (product(zzz=1), "zzz", "the columns are access_level, allowed_groups, attributes"),
        (product(owner_group="other"), "owner_group", "no such column"),
        (product(deleted="yes"), "deleted", "must be true or false"),
        ('{"id": "a b", "deleted": true}', "id", "letters, digits"),
    ],
)
def test_bad_products(line: bytes | str | None, field: str | None, reason: str) -> None:
    told = refusal(line)
    assert told[0] == field
    assert reason in told[1]
    assert "pydantic" not in told[1]
    assert "Input should" not in told[1]


@pytest.mark.parametrize(
    "columns",
    [{}, {"accessLevel": "public"}, {"sku": None, "deleted": False}, {"price": 0, "attributes": {"a": 1, "b": True}}],
)
def test_good_products(columns: dict[str, object]) -> None:
    parsing = parse("products", [Line(1, product(**columns).encode())])
    assert parsing.rejects == ()
    assert [row.id for row in parsing.rows] == ["lamp"]


def test_one_bad_line_leaves_the_others_alone() -> None:
    parsing = parse("products", [Line(1, product().encode()), Line(2, b"{"), Line(3, b'{"id": "x", "deleted": true}')])
    assert [(row.line, row.id, row.row is None) for row in parsing.rows] == [(1, "lamp", False), (3, "x", True)]
    assert [(reject.line, reject.id) for reject in parsing.rejects] == [(2, None)]


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        ("---\ntitle: [\n---\ntext", "text", "not valid YAML"),
        ("---\n- a\n---\ntext", "text", "lines of name: value"),
        ("---\n1: a\n---\ntext", "text", "lines of name: value"),
        ("---\ntitel: a\n---\ntext", "titel", "did you mean 'title'?"),
        ("---\ntitle: a\naccess_level: top\n---\ntext", "access_level", "must be one of"),
        ("---\ntitle: [a]\n---\ntext", "title", "must be a text"),
        ("---\ntitle: !!python/object:os.system x\n---\ntext", "text", "not valid YAML"),
        ("---\ntitle: " + "[" * 7_000 + "\n---\ntext", "text", "not valid YAML"),
        ("---\ntitle: " + "x" * 9_000 + "\n---\ntext", "text", "8192 characters"),
        ("---\ntitle: a\n---\n  \n", "text", "empty below its front matter"),
        ("", "text", "empty below its front matter"),
    ],
)
def test_bad_documents(text: str, field: str, reason: str) -> None:
    told = refusal(json.dumps({"name": "a.md", "text": text}), "documents")
    assert told[0] == field
    assert reason in told[1]


def test_an_alias_bomb_is_only_a_refusal() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    field, reason = refusal(json.dumps({"name": "a.md", "text": f"---\n{bomb}---\ntext"}), "documents")
    assert (field, len(reason) < 300) == ("a", True)


def test_documents_describe_themselves() -> None:
    says = ["title: 2026", "source: Handbook", "access_level: confidential", "allowed_groups: [a]", "sensitive: true"]
    text = "\n".join(["---", *says, "---", "# X", ""])
    [parsed] = parse("documents", [Line(1, json.dumps({"name": "sub/Care of down.md", "text": text}).encode())]).rows
    assert parsed.id == "sub-care-of-down"
    row = parsed.row
    assert row is not None
    assert row.model_dump(mode="json", exclude={"id", "restricted_groups"}) == {
        "title": "2026",
        "source": "Handbook",
        "text": "# X",
        "access_level": "confidential",
        "allowed_groups": ["a"],
        "sensitive": True,
    }


@pytest.mark.parametrize(
    ("text", "title"),
    [("# Of *its* heading\n\ntext", "Of its heading"), ("just text", "some file"), ("---\n---\ntext", "some file")],
)
def test_a_title_is_found(text: str, title: str) -> None:
    [parsed] = parse("documents", [Line(1, json.dumps({"name": "x/some-file.md", "text": text}).encode())]).rows
    assert parsed.row is not None
    assert parsed.row.title == title


def test_names_become_distinct_ids() -> None:
    names = [
        "a.md",
        "b/a.md",
        "b\\c.md",
        "Über.md",
        "Uber.md",
        "日本.md",
        "日中.md",
        "...",
        "a" * 300 + ".md",
        "x.tar.gz",
    ]
    lines = [Line(at, json.dumps({"name": name, "text": "x"}).encode()) for at, name in enumerate(names, 1)]
    ids = [row.id for row in parse("documents", lines).rows]
    assert ids[:3] == ["a", "b-a", "b-c"]
    assert len(set(ids)) == len(names)
