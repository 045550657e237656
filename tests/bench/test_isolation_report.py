"""What the isolation suite computes and prints."""

import io
import random

import httpx
import pytest
from rich.console import Console

from bench.isolation import report
from bench.isolation.finding import Finding, Verdict
from bench.isolation.gateway import Answer
from bench.isolation.probes.oracle import comparable
from bench.isolation.provider import GROUP_HEADER, KEY, provider_server
from bench.isolation.statistics import compare, median


def test_the_p_value_is_that_of_the_textbook() -> None:
    # Mann and Whitney's own small case: U = 2 of 16, mean 8, variance 12
    comparison = compare([1.0, 2.0, 3.0, 6.0], [4.0, 5.0, 7.0, 8.0])
    assert comparison.told_apart == pytest.approx(14 / 16)
    assert comparison.p == pytest.approx(0.0833, abs=0.0005)
    assert comparison.median_difference == -3.5


def test_equal_values_tell_nothing() -> None:
    comparison = compare([1.0] * 50, [1.0] * 60)
    assert (comparison.told_apart, comparison.p, comparison.differs) == (0.5, 1.0, False)


@pytest.mark.parametrize(("shift", "differs"), [(0.0, False), (0.2, False), (1.0, True)])
def test_only_a_difference_that_helps_counts(shift: float, differs: bool) -> None:
    drawn = random.Random(7)
    first = [drawn.gauss(0, 1) for _ in range(300)]
    second = [drawn.gauss(shift, 1) for _ in range(300)]
    assert compare(first, second).differs is differs


def test_median_of_odd_and_even() -> None:
    assert (median([3, 1, 2]), median([4, 1, 2, 3])) == (2, 2.5)


def test_an_answer_is_compared_without_its_ids_and_what_always_differs() -> None:
    def answer(name: str, request: str) -> Answer:
        body = {"error": {"message": f"No {name}."}, "metadata": {"requestId": request, "cached": False}}
        return Answer(404, "", 0, body)

    volatile = frozenset({"requestId"})
    kept = [comparable(answer(name, name * 2), ("a-1", "z-9"), volatile) for name in ("a-1", "z-9")]
    assert kept[0] == kept[1]
    assert comparable(answer("b-2", "x"), ("a-1", "z-9"), volatile) != kept[0]


def test_columns_line_up_and_what_one_lacks_is_a_dash() -> None:
    held = Finding("Cache", "same words", "asked", "0 of 9", Verdict.HOLDS)
    leaked = Finding("Cache", "same words", "asked", "9 of 9", Verdict.LEAKS)
    only = Finding("Cache", "other words", "asked", "1 of 9", Verdict.LEAKS)
    columns = [report.Column("one 1.0", "alone", [held]), report.Column("two 2.0", "in pairs", [leaked, only])]
    assert report.markdown(columns).splitlines() == [
        "|  | one 1.0 | two 2.0 |",
        "| --- | --- | --- |",
        "| Cache: same words | **holds**: 0 of 9 | **leaks**: 9 of 9 |",
        "| Cache: other words | - | **leaks**: 1 of 9 |",
        "",
        "- one 1.0: alone.",
        "- two 2.0: in pairs.",
    ]
    screen = Console(file=io.StringIO(), width=100)
    screen.print(report.table(columns))


def test_the_provider_numbers_its_answers_and_says_what_they_rest_on() -> None:
    with provider_server() as provider:
        headers = {"authorization": f"Bearer {KEY}", GROUP_HEADER: "group-a"}
        with httpx.Client(base_url=provider.url, headers=headers) as http:
            body = {"model": "bench", "messages": [{"role": "user", "content": "It says codeword-1f."}]}
            texts = [
                http.post("/chat/completions", json=body).json()["choices"][0]["message"]["content"] for _ in range(2)
            ]
            file = http.post("/files", files={"file": ("r.jsonl", b"{}")}, data={"purpose": "batch"}).json()["id"]
            batch = http.post("/batches", json={"input_file_id": file, "endpoint": "/v1/chat/completions"}).json()["id"]
            assert http.get("/batches").json()["data"][0]["id"] == batch
            assert http.post(f"/batches/{batch}/cancel").json()["status"] == "cancelling"
            assert http.get("/batches/none").status_code == 404
            assert http.get("/files", headers={"authorization": "Bearer no"}).status_code == 401
    assert texts[0].endswith("rests on: group-a codeword-1f")
    assert texts[0] != texts[1]
    assert provider.answers == 2
