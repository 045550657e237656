"""What a reader of a tool's text sees: the text goes through a real Markdown parser, and so may what hides in it."""

from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

_READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def _tokens(markdown: str) -> Iterator[Token]:
    for token in _READER.parse(markdown):
        yield token
        yield from token.children or ()


def seen(markdown: str) -> str:
    """The visible text, its white space folded."""
    shown = [
        " " if token.type in ("softbreak", "hardbreak") else token.content
        for token in _tokens(markdown)
        if token.type in ("text", "code_inline", "softbreak", "hardbreak", "fence", "code_block", "text_special")
        or (token.nesting == -1 and token.block)
    ]
    return " ".join("".join(each or " " for each in shown).split())


def live(markdown: str) -> set[str]:
    """What of it works as more than text, apart from the markup that our own texts have."""
    ours = {"paragraph", "bullet_list", "list_item", "table", "thead", "tbody", "tr", "th", "td", "hr"}
    kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in _tokens(markdown)}
    return kinds - ours - {"text", "inline", "softbreak", "code_inline", "strong", "text_special"}


def bold(markdown: str) -> list[str]:
    """The texts that stand out."""
    tokens = list(_tokens(markdown))
    return [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "strong_open"]


def items(markdown: str) -> list[str]:
    """The visible text of each item of a list."""
    found: list[str] = []
    inside = False
    for token in _READER.parse(markdown):
        if token.type == "list_item_open":
            inside = True
        elif token.type == "inline" and inside:
            found.append(seen(token.content))
            inside = False
    return found
