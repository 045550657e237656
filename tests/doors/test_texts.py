"""What people and agents read: data as it is, whole, and never as markup."""

from typing import Any

import pytest

from domain.errors import CohortError, ErrorCode, invalid
from mcp_server import envelope
from mcp_server.identity import Ids
from mcp_server.markup import MARKDOWN, Plain
from mcp_server.texts import render
from tests.doors.reading import bold, items, live, seen

HOSTILE = (
    "<script>alert(1)</script> … | pipe **bold** _em_ ~~gone~~ `code` [x](http://e) ![i](http://e/i.png) <http://auto> "
    "*:* &lt; \\| C:\\dir max_price __init__"
)
LINES = (
    "# Heading\n\n> quote\n\n- item\n1. one\n\n```\nfence\n```\n\n    code\n\n"
    "<b>html</b>\n\n===\n\n---\n| a | b |\n|---|---|\n"
)
ID = "whistling-kettle-with-a-very-long-name-that-goes-on-and-on-until-no-column-would-hold-it-0123456789"
METADATA: dict[str, Any] = {
    "requestId": "r1",
    "correlationId": "c:1_a_",
    "timestamp": "2026-11-23T11:44:18.844Z",
    "latency": 1.5,
    "userGroups": ["acme", "_x_"],
    "effectivePermissions": ["*:*", "models:*"],
    "dataAccessLevel": "public",
}


def answer(data: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"success": True, "data": data, "metadata": METADATA, **more}


def product(**columns: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "title": HOSTILE,
        "category": HOSTILE,
        "price": 12.5,
        "currency": "EUR",
        "attributes": {HOSTILE: HOSTILE, "solar": False, "size": 1.5},
        "ownerGroup": "acme",
        **columns,
    }


def citation(index: int, **columns: Any) -> dict[str, Any]:
    return {
        "index": index,
        "kind": "document",
        "id": "halcyon",
        "title": HOSTILE,
        "source": HOSTILE,
        "rank": index,
        "cited": False,
        **columns,
    }


PAGE = {"limit": 50, "total": 1, "totalIsLowerBound": False, "hasNext": True, "nextToken": "a_b-c" * 300}
FACETS = {"category": [{"value": HOSTILE, "count": 1}]}
USAGE = {"promptTokens": 1, "completionTokens": 2}
ERROR = {"code": "x", "message": HOSTILE, "retryable": True}
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("products_search", answer({"items": [product(rank=1)], "facets": FACETS}, pagination=PAGE)),
    ("products_get", answer(product(sku=None, description=f"{HOSTILE}\n{LINES}", accessLevel="public", version=1))),
    (
        "completions_create",
        answer(
            {
                "id": "completion-1",
                "text": "An answer.",
                "finishReason": HOSTILE,
                "citations": [citation(1, passage=HOSTILE), citation(2)],
                "usage": USAGE,
            }
        ),
    ),
    (
        "groups_list",
        answer(
            {
                "userId": HOSTILE,
                "groups": [
                    {
                        "id": "acme",
                        "name": HOSTILE,
                        "parent": None,
                        "direct": True,
                        "accessLevel": "public",
                        "adminLevel": 3,
                        "permissions": ["*:*", "models:*"],
                    }
                ],
            }
        ),
    ),
    (
        "groups_permissions",
        answer(
            {
                "groupId": "acme",
                "member": True,
                "accessLevel": "public",
                "permissions": [{"permission": "*:*", "source": "acme", "kind": HOSTILE}],
            }
        ),
    ),
    (
        "health_check",
        answer(
            {
                "status": "ok",
                "version": "1",
                "components": [{"name": "sql", "state": "ok", "latency": 1, "note": HOSTILE}],
                "groups": [{"id": "acme", "name": HOSTILE}],
            }
        ),
    ),
    ("jobs_get", answer({"jobId": "j", "result": {"rejects": [{"line": 1, "reason": HOSTILE}]}, LINES: LINES})),
    ("jobs_get", {"success": False, "error": ERROR, "metadata": METADATA}),
]


def facts(value: Any) -> list[str]:
    """Every fact that is said in one piece."""
    if isinstance(value, dict):
        return [fact for each in value.values() for fact in facts(each)]
    if isinstance(value, list):
        return [fact for each in value for fact in facts(each)]
    return [] if value is None or isinstance(value, bool) else [" ".join(str(value).split())]


@pytest.mark.parametrize(("operation", "body"), BODIES, ids=lambda value: str(value)[:30])
def test_data_is_read_as_it_is_and_never_as_markup(operation: str, body: dict[str, Any]) -> None:
    text = render(operation, body)
    assert live(text) == set()
    assert [fact for fact in facts(body) if fact not in seen(text)] == []
    assert {each for each in bold(text) if HOSTILE not in each and each != ""} <= {"x", "ok"}
    plain = render(operation, body, Plain())
    assert [fact for fact in facts(body) if fact not in " ".join(plain.split())] == []
    narrow = render(operation, body, Plain(80))
    assert [fact for fact in facts(body) if fact not in " ".join(narrow.split())] == []
    assert "**" not in plain.replace(HOSTILE, "")


def test_the_models_answer_stays_as_the_model_wrote_it() -> None:
    said = '```json\n{"a_b": [1]}\n```\n- **so** [1]'
    data = {"id": "1", "text": said, "finishReason": "stop", "citations": [], "usage": USAGE}
    for style in (MARKDOWN, Plain()):
        assert render("completions_create", answer(data), style).startswith(said)


def test_two_passages_of_one_document_are_told_apart() -> None:
    two = [citation(index, passage=f"Results, part {index} of 2", title="T") for index in (1, 2)]
    data = {"id": "1", "text": "", "finishReason": "stop", "citations": two, "usage": USAGE}
    first, second, *_ = items(render("completions_create", answer(data)))
    assert first.startswith("[1] T, Results, part 1 of 2 (document halcyon,")
    assert second.startswith("[2] T, Results, part 2 of 2 (document halcyon,")


def test_a_terminal_obeys_nothing_of_the_data() -> None:
    data = {"items": [product(title="\x1b[2Jcleared \x9b31mred \u202etxt.exe 日本", rank=1)], "facets": {}}
    text = render("products_search", answer(data), Plain(200))
    assert "\\u001b[2Jcleared \\u009b31mred \\u202etxt.exe 日本" in text
    assert not set("\x1b\x9b\u202e") & set(text)


def test_columns_stand_below_each_other_also_with_wide_characters() -> None:
    lines = Plain().table(("a", "b"), [["日本", "1"], ["e\u0301", "2"]]).splitlines()
    assert lines == ["a     b", "----  -", "日本  1", "e\u0301     2"]


def test_problems_are_said_once_and_the_advice_stands_apart() -> None:
    ids = Ids.of({})
    error = invalid(("max_tokens", "must be 1 or more"), ("_meta.x", "is not known here; leave it out"))
    text = render("completions_create", envelope.failure(ids, error))
    assert items(text) == ["max_tokens: must be 1 or more", "_meta.x: is not known here; leave it out"]
    assert seen(text).startswith("invalid_argument: The request was not accepted and nothing was done. max_tokens:")
    assert seen(text).count("must be 1 or more") == 1
    assert "out A retry of the same call will not help." in seen(text)


def test_what_is_not_known_of_the_caller_is_not_said() -> None:
    body = envelope.failure(Ids.of({}), CohortError(ErrorCode.UNAUTHENTICATED, "No key."))
    assert set(body["metadata"]) == {"requestId", "correlationId", "timestamp", "latency"}
    text = render("groups_list", body)
    assert "groups:" not in text
    assert "access level" not in text
