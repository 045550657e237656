"""Page tokens: good for one caller and one question, and only as they were made."""

from typing import Any

import pytest

from domain.errors import CohortError, ErrorCode
from storage.pages import LIFETIME, Binding, Pages

PAGES = Pages(b"k" * 32)
MINE = Binding("products_search", "rosa", None, None, {"query": "lamp", "sort": "relevance"})
PLACE = {"offset": 50, "frozen": "f" * 20, "after": {"price": 0.1, "title_key": "名" * 300}}


def refused(binding: Binding, token: str, **when: Any) -> None:
    with pytest.raises(CohortError) as refusal:
        PAGES.read(binding, token, **when)
    assert refusal.value.code is ErrorCode.INVALID_ARGUMENT
    assert [field["field"] for field in refusal.value.details["fields"]] == ["nextToken"]


def test_a_token_leads_to_its_place() -> None:
    token = PAGES.issue(MINE, PLACE)
    assert PAGES.read(MINE, token) == PLACE
    assert len(token) < 4_096
    assert PAGES.issue(MINE, PLACE) != token


def test_every_changed_digit_is_refused() -> None:
    token = PAGES.issue(MINE, {"offset": 50})
    for place, digit in enumerate(token):
        for other in ("A", "B", "_", "=", "é", "\n"):
            if other != digit:
                refused(MINE, token[:place] + other + token[place + 1 :])
        refused(MINE, token[:place])
        refused(MINE, token[:place] + token[place + 1 :])
    for wrong in ("", "A" * 5_000, token + "=", token + "A", " " + token, "\x00"):
        refused(MINE, wrong)


@pytest.mark.parametrize(
    "foreign",
    [
        Binding("models_list", "rosa", None, None, MINE.question),
        Binding("products_search", "sam", None, None, MINE.question),
        Binding("products_search", "rosa", "acme", None, MINE.question),
        Binding("products_search", "rosa", None, "acme", MINE.question),
        Binding("products_search", "rosa", None, None, {"query": "lamp", "sort": "title"}),
        Binding("products_search", "rosa", None, None, {"query": "lamp"}),
    ],
)
def test_another_callers_or_questions_token_is_refused(foreign: Binding) -> None:
    refused(foreign, PAGES.issue(MINE, PLACE))


def test_an_old_token_and_another_servers_are_refused() -> None:
    token = PAGES.issue(MINE, PLACE, now=1_000)
    assert PAGES.read(MINE, token, now=1_000 + LIFETIME - 1) == PLACE
    refused(MINE, token, now=1_000 + LIFETIME)
    refused(MINE, Pages(b"o" * 32).issue(MINE, PLACE))
