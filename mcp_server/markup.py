"""How a text is laid out: as Markdown for MCP clients, plainly for the command line. In both, data stays data.

Titles, ids and descriptions are written by people of any group. What they wrote must be read as it is, and never work
as a link, a picture or markup in another group's agent, nor as a control sequence in a terminal.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Protocol

Rows = Sequence[Sequence[str]]

# Markup at any place of a line. An underscore within a word is none, and names such as max_price stay readable.
_MARKUP = re.compile(r"[\\`*\[\]<|~]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
# Markup only where a line begins: headings, quotes, rules and the two kinds of lists.
_BLOCK = re.compile(r"^(?=[#=>]|[-+](?:[\s+-]|$))", re.MULTILINE)
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)", re.MULTILINE)
# Of the invisible characters only those that a terminal obeys, or that turn the order of a line around.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Style(Protocol):
    """The two ways to lay a text out."""

    def text(self, value: object) -> str:
        """Data within a line."""
        ...

    def prose(self, value: str) -> str:
        """Data of several lines."""
        ...

    def answer(self, value: str) -> str:
        """What the model wrote for this caller."""
        ...

    def code(self, value: object) -> str:
        """An id or a name, to be copied as it is."""
        ...

    def strong(self, said: str) -> str:
        """Something laid out already that is to stand out."""
        ...

    def argument(self, name: str) -> str:
        """The name of an argument of the operation, as it is given here."""
        ...

    def table(self, head: Sequence[str], rows: Rows) -> str:
        """A table of cells that are laid out already."""
        ...


class Markdown:
    """For MCP clients, which show text as Markdown or give it to a model."""

    def text(self, value: object) -> str:
        """Data within a line, its markup escaped."""
        return _escaped(_one_line(value))

    def prose(self, value: str) -> str:
        """Data of several lines; without their indentation, which would make them code."""
        return _escaped("\n".join(line.strip() for line in value.splitlines())).strip()

    def answer(self, value: str) -> str:
        """As it is: often it is Markdown or JSON itself, which escapes would spoil."""
        return value

    def code(self, value: object) -> str:
        """A code span, fenced by more backticks than the data has in a row."""
        said = _one_line(value)
        if not said:
            return "(empty)"
        fence = "`" * (max((len(run) for run in re.findall("`+", said)), default=0) + 1)
        pad = " " if "`" in said else ""
        return f"{fence}{pad}{said}{pad}{fence}"

    def strong(self, said: str) -> str:
        """Bold."""
        return f"**{said}**"

    def argument(self, name: str) -> str:
        """As the tool has it."""
        return self.code(name)

    def table(self, head: Sequence[str], rows: Rows) -> str:
        """A table; bars are escaped in code too, where only tables read them."""
        lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        return "\n".join(lines + [f"| {' | '.join(map(_barred, row))} |" for row in rows])


class Plain:
    """For the command line: nothing but the text. `width` is the terminal's; None where the output is no terminal."""

    def __init__(self, width: int | None = None) -> None:
        self._width = width

    def text(self, value: object) -> str:
        """Data within a line, with what a terminal would obey spelt out."""
        return visible(_one_line(value))

    def prose(self, value: str) -> str:
        """Data as it is, with what a terminal would obey spelt out."""
        return visible(value)

    def answer(self, value: str) -> str:
        """As data."""
        return visible(value)

    def code(self, value: object) -> str:
        """As text."""
        return self.text(value)

    def strong(self, said: str) -> str:
        """As text."""
        return said

    def argument(self, name: str) -> str:
        """As the command line has it."""
        return f"--{name.replace('_', '-')}"

    def table(self, head: Sequence[str], rows: Rows) -> str:
        """Columns side by side, or one line a cell where the terminal is too narrow: no cell is ever cut."""
        widths = [max(map(columns_of, column)) for column in zip(head, *rows, strict=True)]
        if self._width is not None and sum(widths) + 2 * (len(widths) - 1) > self._width:
            pairs = (zip(head, row, strict=True) for row in rows)
            return "\n\n".join("\n".join(f"{name}: {cell}" for name, cell in row if cell) for row in pairs)
        lines = [head, ["-" * width for width in widths], *rows]
        return "\n".join("  ".join(map(_padded, line, widths)).rstrip() for line in lines)


MARKDOWN = Markdown()


def visible(text: str) -> str:
    """The text with the characters spelt out that a terminal would obey."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF") for each in text)


def _escaped(text: str) -> str:
    return _NUMBERED.sub(r"\1\\\2", _BLOCK.sub(r"\\", _MARKUP.sub(r"\\\g<0>", text)))


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def _padded(text: str, width: int) -> str:
    return text + " " * (width - columns_of(text))


def _barred(cell: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", cell) or " "
