"""The rule of visibility as a LanceDB filter.

LanceDB has no bound parameters, and its expression builder (`lancedb.expr`, 0.40) knows no function over lists, so a
filter is text. Every literal in it goes through `literal`, which lets nothing through that could end a string: group
ids and levels are words by their shape, and whatever a caller made up reaches a filter only as its digest (`token`).
"""

import hashlib
import re
from collections.abc import Iterable
from typing import assert_never

from domain.ids import GROUP_ID
from domain.policy import All, Any, Condition, LevelIn, Meets, Not, Owned, Sensitive

_WORD = re.compile(r"[A-Za-z0-9._~/#-]{1,256}")


def filter_of(condition: Condition) -> str:
    """The filter that accepts the rows for which `domain.policy.matches` is true.

    Raises:
        ValueError: a group id that has not the shape of one; nothing was searched.
    """
    match condition:
        case Owned(owners):
            return within("owner_group", _groups(owners))
        case Meets(field, groups):
            return meets(field, _groups(groups))
        case LevelIn(levels):
            return within("access_level", [level.value for level in levels])
        case Sensitive():
            return "sensitive"
        case Not(term):
            return f"(NOT {filter_of(term)})"
        case All(terms):
            return both(filter_of(term) for term in terms)
        case Any(terms):
            return f"({' OR '.join([filter_of(term) for term in terms])})" if terms else "false"
        case _:
            assert_never(condition)


def both(filters: Iterable[str]) -> str:
    """Every one of `filters`."""
    parts = list(filters)
    return f"({' AND '.join(parts)})" if parts else "true"


def within(column: str, words: Iterable[str]) -> str:
    """The column holds one of `words`."""
    literals = [literal(word) for word in sorted(words)]
    return f"({column} IN ({', '.join(literals)}))" if literals else "false"


def meets(column: str, words: Iterable[str]) -> str:
    """The column's list shares a member with `words`."""
    literals = [literal(word) for word in sorted(words)]
    return f"array_has_any({column}, [{', '.join(literals)}])" if literals else "false"


def holds_all(column: str, words: Iterable[str]) -> str:
    """The column's list has every one of `words`."""
    literals = [literal(word) for word in sorted(words)]
    return f"array_has_all({column}, [{', '.join(literals)}])" if literals else "true"


def literal(word: str) -> str:
    """A quoted word.

    Raises:
        ValueError: it is no plain word, so that it could mean something to the parser.
    """
    if _WORD.fullmatch(word) is None:
        raise ValueError(f"{word!r} cannot be part of a filter; nothing was searched")
    return f"'{word}'"


def token(text: str) -> str:
    """What stands for a free text in a list column and in its filters: 128 bits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _groups(groups: Iterable[str]) -> list[str]:
    named = list(groups)
    for group in named:
        if GROUP_ID.fullmatch(group) is None:
            raise ValueError(f"{group!r} is no group id; nothing was searched")
    return named
