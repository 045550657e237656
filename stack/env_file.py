"""`.env` in the current folder: what it says, or one sentence about why it cannot be read."""

import io
from collections.abc import Iterator
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

NAME = ".env"
ENCODING = "utf-8-sig"
"""An editor's byte order mark at the beginning is no part of the first name."""


class BadSettings(Exception):
    """A setting that cannot be used; the message is for the user and holds no value of a secret."""


def read() -> dict[str, str | None]:
    """Every name in the file; empty where there is no file. A folder of that name is somebody's virtual environment.

    Raises:
        BadSettings: it cannot be read or understood, with the line. The line itself may hold a key and is not shown.
    """
    path = Path(NAME).absolute()
    try:
        content = b"" if path.is_dir() else path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadSettings(f"{path} cannot be read ({error.strerror}): make it readable, or move it away.") from None
    try:
        text = content.decode(ENCODING)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadSettings(f"{path}, line {line}, is not UTF-8 text: save the file as UTF-8.") from None
    broken = [_line(binding) for binding in _parsed(text) if binding.error]
    if broken:
        which = f"line {broken[0]}" if len(broken) == 1 else "lines " + ", ".join(map(str, broken))
        raise BadSettings(
            f"{path}, {which}: this is no setting; write NAME=value there, in quotes if the value has any itself."
        )
    return dotenv_values(stream=io.StringIO(text, newline=None))


def _parsed(text: str) -> Iterator[Binding]:
    return parse_stream(io.StringIO(text, newline=None))


def _line(binding: Binding) -> int:
    """The parser counts blank lines to the statement after them."""
    said = binding.original.string
    blank = said[: len(said) - len(said.lstrip())]
    return binding.original.line + blank.count("\n")
