"""The part of a question that is searched for."""

MOST = 2_000
"""Characters: more than the embedding model reads, and enough words for a search by words."""


def searchable(question: str) -> str:
    """The question; of a very long one its beginning and its end, where people say what they want."""
    text = question.strip()
    return text if len(text) <= MOST else f"{text[: MOST // 2]}\n{text[-MOST // 2 :]}"
