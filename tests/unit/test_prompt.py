"""Framing of prompts and reading of citations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.completions import CompletionInput, Message, Source
from domain.prompt import citations, cited_numbers, estimate_tokens, fence_for, frame


def source(n: int, text: str, title: str = "A title") -> Source:
    return Source(
        kind="document",
        owner_group="acme",
        id=f"doc-{n}",
        version=n,
        title=title,
        source=f"doc-{n}.md",
        text=text,
        rank=n,
    )


def test_sources_are_numbered_in_their_order_before_the_question() -> None:
    framed = frame(CompletionInput(prompt="What is it?"), [source(1, "One."), source(2, "Two.")], 4_096)

    assert [message.role for message in framed.messages] == ["system", "user"]
    assert framed.messages[-1].content == (
        "==== source [1]: A title\nOne.\n==== source [2]: A title\nTwo.\n==== end of sources\n\nQuestion: What is it?"
    )
    assert [one.id for one in framed.given] == ["doc-1", "doc-2"]


def test_without_sources_the_conversation_is_sent_as_it_is() -> None:
    turns = [Message(role="system", content="Be brief."), Message(role="user", content="Hello")]

    framed = frame(CompletionInput(messages=turns), [], 4_096)

    assert framed.messages == tuple(turns)
    assert framed.given == ()


def test_the_callers_system_turn_follows_ours_in_one_turn() -> None:
    turns = [
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hello"),
        Message(role="assistant", content="Hi."),
        Message(role="user", content="And now?"),
    ]

    framed = frame(CompletionInput(messages=turns), [source(1, "One.")], 4_096)

    assert [message.role for message in framed.messages] == ["system", "user", "assistant", "user"]
    assert framed.messages[0].content.endswith("\n\nBe brief.")


@given(st.lists(st.text(alphabet="= \nab", max_size=40), min_size=1, max_size=5))
def test_no_source_can_close_its_own_frame(texts: list[str]) -> None:
    fence = fence_for(texts)

    assert len(fence) >= 4
    assert all(fence not in text for text in texts)


def test_a_title_that_looks_like_a_frame_stays_on_its_line() -> None:
    framed = frame(CompletionInput(prompt="?"), [source(1, "x", title="a\n==== source [9]: b")], 4_096)

    assert framed.messages[-1].content.startswith("===== source [1]: a ==== source [9]: b\nx\n")


@given(
    st.lists(st.text(max_size=3_000), max_size=8),
    st.integers(256, 8_192),
    st.integers(1, 4_096),
    st.text(min_size=1, max_size=500),
)
def test_what_is_sent_leaves_room_for_the_answer(texts: list[str], window: int, longest: int, question: str) -> None:
    asked = CompletionInput(prompt=question, max_tokens=longest)
    framed = frame(asked, [source(n, text) for n, text in enumerate(texts, 1)], window)

    sent = estimate_tokens(*(message.content for message in framed.messages))
    alone = estimate_tokens(question)
    assert sent <= alone or sent <= window - min(longest, window // 2) + 8
    assert [one.id for one in framed.given] == [f"doc-{n}" for n in range(1, len(framed.given) + 1)]


def test_the_last_source_is_cut_rather_than_left_out() -> None:
    framed = frame(CompletionInput(prompt="?", max_tokens=10), [source(1, "word " * 1_000)], 512)

    assert len(framed.given) == 1
    assert "word word" in framed.messages[-1].content


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", set[int]()),
        ("It is so [1].", {1}),
        ("So [1][3], and [2, 4].", {1, 2, 3, 4}),
        ("All of them [1-3].", {1, 2, 3}),
        ("Backwards [3-1].", {1, 3}),
        ("An array[10] and [x] and [1.5] and [1234].", {10}),
        ("[1; 2] [ 3 ]", {1, 2}),
    ],
)
def test_numbers_in_brackets_are_citations(text: str, numbers: set[int]) -> None:
    assert cited_numbers(text) == numbers


def test_every_given_source_is_listed_and_the_cited_ones_are_marked() -> None:
    listed = citations("As [2] says. Not [7].", [source(1, "a"), source(2, "b")])

    assert [(one.index, one.id, one.cited) for one in listed] == [(1, "doc-1", False), (2, "doc-2", True)]
