"""What cache keys, page tokens and request digests are made of: no two different values share an encoding."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.canonical import encode
from tests.support.proofs import PROPERTIES

# The tags and digits of the encoding itself, so that a missing length could be taken for content.
texts = st.text(alphabet="slmu\x00\x01", max_size=3)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-1, 2),
        st.floats(-1, 2, width=16),
        texts,
        st.frozensets(texts, max_size=3),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)


def told_apart(value: Any) -> Any:
    """The value with its types: Python takes True for 1 and 1 for 1.0."""
    match value:
        case list():
            return ("list", [told_apart(one) for one in value])
        case dict():
            return ("dict", {key: told_apart(one) for key, one in value.items()})
        case _:
            return (type(value).__name__, repr(value) if isinstance(value, float) else value)


@settings.get_profile(PROPERTIES)
@given(values, values)
def test_two_values_share_an_encoding_only_if_they_are_the_same(one: Any, other: Any) -> None:
    assert (encode(one) == encode(other)) == (told_apart(one) == told_apart(other))


def test_what_could_run_together_does_not() -> None:
    alike: list[list[Any]] = [
        [["a", "b"], ["ab"], ["a", "b", ""], [["a"], "b"], ["asb"], [["a", "b"]]],
        [{"a": "b"}, ["a", "b"], {"a": ["b"]}, {"ab": ""}, {"a": {"b": None}}],
        [frozenset({"a", "b"}), frozenset({"ab"}), frozenset({"asb"}), ["a", "b"]],
        [True, 1, 1.0, "1", "True", [1]],
        [None, "", [], {}, frozenset(), False, 0, "n"],
    ]
    for values_of_a_kind in alike:
        encoded = [encode(value) for value in values_of_a_kind]
        assert len(set(encoded)) == len(encoded)
