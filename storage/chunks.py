"""Markdown into passages that follow the document's structure.

A passage is a run of whole blocks (paragraphs, lists, tables, code) of about 200 tokens, with the document's title and
the path of its headings in front, so that it can be embedded, found and quoted on its own. Neighbouring short sections
share a passage. A block is cut only where it alone is far too long.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ENOUGH = 140
"""Tokens from which a passage ends where its section does."""
MOST = 250
"""Tokens that a passage does not exceed, unless one block does."""
HUGE = 400
"""Tokens from which a single block is cut, at the ends of sentences where it has any."""
_LONGEST_HEADING = 200

# Blocks are all that is needed: without the inline rules no text can make the parser slow.
_MARKDOWN = MarkdownIt("commonmark").enable("table").disable(["inline", "text_join"])
_PIECE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\\w+|[^\\w\\s]")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s*|\n")


class _Block(NamedTuple):
    path: tuple[str, ...]
    text: str
    tokens: int


def passages_of(title: str, markdown: str) -> list[str]:
    """The passages of a document, in order, each beginning with `title > heading > …`; at least one."""
    made: list[str] = []
    run: list[_Block] = []
    size = 0
    for block in _blocks(title, markdown):
        if run and (size + block.tokens > MOST or (size >= ENOUGH and block.path != run[-1].path)):
            made.append(_passage(title, run))
            run, size = [], 0
        run.append(block)
        size += block.tokens
    if run or not made:
        made.append(_passage(title, run))
    return made


def headings_of(title: str, passage: str) -> str:
    """The headings above a passage, which its first line has after the document's title; empty where it has none."""
    return passage.partition("\n\n")[0].removeprefix(title).removeprefix(" > ")


def count_tokens(text: str) -> int:
    """About how many tokens the embedding model sees: words and marks, long words as several pieces."""
    return sum(1 + len(piece) // 8 for piece in _PIECE.findall(text))


def first_heading(markdown: str) -> str | None:
    """The text of the first heading of the first level."""
    tokens = _MARKDOWN.parse(markdown)
    for token, after in pairwise(tokens):
        if token.type == "heading_open" and token.tag == "h1":
            return _plain(after.content) or None
    return None


def _passage(title: str, run: list[_Block]) -> str:
    path = run[0].path if run else ()
    parts = [" > ".join((title, *path))]
    for block in run:
        if block.path != path:
            path = block.path
            parts.append(" > ".join(path) or title)
        if block.text:
            parts.append(block.text)
    return "\n\n".join(parts)


def _blocks(title: str, markdown: str) -> Iterator[_Block]:
    """Top-level blocks with the headings above them; a heading without anything below it is a block of its own."""
    lines = markdown.splitlines()
    headings: dict[int, str] = {}
    bare = False
    tokens = _MARKDOWN.parse("\n".join(lines))
    for at, token in enumerate(tokens):
        if token.level or token.map is None or token.type in ("inline", "hr"):
            continue
        if token.type == "heading_open":
            if bare:
                yield _bare(_path(title, headings))
            level = int(token.tag[1:])
            headings = {above: text for above, text in headings.items() if above < level}
            headings[level] = _plain(tokens[at + 1].content)
            bare = True
            continue
        bare = False
        for text in _cut(_source(lines, token)):
            yield _Block(_path(title, headings), text, count_tokens(text))
    if bare:
        yield _bare(_path(title, headings))


def _bare(path: tuple[str, ...]) -> _Block:
    return _Block(path, "", 1 + sum(count_tokens(heading) for heading in path))


def _path(title: str, headings: dict[int, str]) -> tuple[str, ...]:
    """The headings from the top, without a first one that only says the title again."""
    path = [headings[level] for level in sorted(headings) if headings[level]]
    return tuple(path[1:] if path and path[0].casefold() == title.casefold() else path)


def _source(lines: list[str], token: Token) -> str:
    start, end = token.map or [0, 0]
    return "\n".join(lines[start:end]).strip("\n")


def _plain(text: str) -> str:
    return " ".join(text[:_LONGEST_HEADING].replace("\\", "").replace("*", "").replace("`", "").split())


def _cut(text: str) -> Iterator[str]:
    """A block as it is, or in pieces of at most `MOST` tokens where it is huge."""
    if count_tokens(text) <= HUGE:
        yield text
        return
    held, size = "", 0
    for sentence in _SENTENCE.split(text):
        for part in _words(sentence):
            tokens = count_tokens(part)
            if held and size + tokens > MOST:
                yield held
                held, size = "", 0
            held, size = f"{held} {part}" if held else part, size + tokens
    if held:
        yield held


def _words(sentence: str) -> Iterator[str]:
    """A sentence, or runs of its characters where it is itself far too long for a passage."""
    start = 0
    while start < len(sentence):
        part = sentence[start : start + MOST * 4]
        while count_tokens(part) > MOST:
            part = part[: len(part) // 2]
        space = part.rfind(" ")
        cut_short = start + len(part) < len(sentence)
        end = space if cut_short and space > len(part) // 2 else len(part)
        if part[:end].strip():
            yield part[:end].strip()
        start += end
