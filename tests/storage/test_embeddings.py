"""The packaged embedding model."""

import pytest

from storage.embeddings import MiniLm


@pytest.fixture(scope="module")
def model() -> MiniLm:
    return MiniLm.load()


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_texts_of_like_meaning_are_near(model: MiniLm) -> None:
    lamp, torch, policy = await model.embed(
        [
            "A lantern for the tent at night.",
            "A lamp to light up your camp.",
            "Unused goods may be returned in 45 days.",
        ]
    )
    assert cosine(lamp, torch) > 0.5 > 0.3 > cosine(lamp, policy)


async def test_vectors_have_unit_length_and_keep_their_order(model: MiniLm) -> None:
    texts = [f"{'long text ' * (number * 7 % 40)} number {number}" for number in range(40)]
    together = await model.embed(texts)
    assert all(len(vector) == model.dimensions for vector in together)
    assert all(abs(cosine(vector, vector) - 1) < 1e-5 for vector in together)
    for at in (0, 17, 39):
        [alone] = await model.embed([texts[at]])
        assert cosine(alone, together[at]) > 0.98, "a batch pads texts, which must not change them"


@pytest.mark.parametrize("text", ["", " ", "\x00", "\ud800 lone", "日本語", "😀" * 300, "word " * 50_000])
async def test_any_text_has_a_vector(model: MiniLm, text: str) -> None:
    [vector] = await model.embed([text])
    assert abs(cosine(vector, vector) - 1) < 1e-5


async def test_nothing_gives_nothing(model: MiniLm) -> None:
    assert await model.embed([]) == []
    assert await model.embed_queries([]) == []


async def test_queries_are_remembered_within_bounds() -> None:
    model = MiniLm.load(remembered=2)
    first = await model.embed_queries(["a lamp", "a stove", "a lamp"])
    assert first[0] == first[2]
    assert await model.embed_queries(["a lamp"]) == [first[0]]
    await model.embed_queries(["a tent", "a bag", "a rope"])
    assert model.remembered == ["a bag", "a rope"]
