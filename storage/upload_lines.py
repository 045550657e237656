"""An upload in slices of whole lines, so that no file is ever in memory as a whole."""

from dataclasses import dataclass

from storage.uploads import UsersUploads

SLICE_ROWS = 200
SLICE_BYTES = 256 << 10
LONGEST = {"products": 1 << 20, "documents": 16 << 20}
"""Bytes of one line: a document travels as one line of JSON, where two million characters may be escaped."""
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Line:
    """A line of the file, by its number from 1; `content` is None where it is too long to be read."""

    number: int
    content: bytes | None


@dataclass(frozen=True)
class Slice:
    """Some lines, blank ones left out, and where the next slice begins."""

    lines: tuple[Line, ...]
    next_offset: int
    next_line: int
    size: int

    @property
    def done(self) -> bool:
        """Whether the upload is at its end."""
        return self.next_offset >= self.size


async def read_slice(
    uploads: UsersUploads,
    upload: str,
    *,
    offset: int,
    line: int,
    longest: int,
    rows: int = SLICE_ROWS,
    room: int = SLICE_BYTES,
) -> Slice:
    """Up to `rows` lines or about `room` bytes from `offset` on, at least one line unless the upload is at its end.

    Raises:
        CohortError: `not_found` where the upload is gone.
    """
    size = await uploads.size(upload)
    lines: list[Line] = []
    start, number, held = offset, line, b""
    while start < size and len(lines) < rows and start - offset < room:
        end = held.find(b"\n")
        if end < 0 and start + len(held) < size:
            if len(held) <= longest:
                held += await uploads.read_from(upload, start + len(held), SLICE_BYTES)
                continue
            lines.append(Line(number, None))
            start, held = await _after_newline(uploads, upload, start + len(held), size), b""
        else:
            end = len(held) if end < 0 else end
            content = held[:end].removeprefix(_BOM if start == 0 else b"").strip()
            if content:
                lines.append(Line(number, content if len(content) <= longest else None))
            start, held = min(start + end + 1, size), held[end + 1 :]
        number += 1
    return Slice(tuple(lines), start, number, size)


async def _after_newline(uploads: UsersUploads, upload: str, offset: int, size: int) -> int:
    while offset < size:
        block = await uploads.read_from(upload, offset, SLICE_BYTES)
        end = block.find(b"\n")
        if end >= 0:
            return offset + end + 1
        offset += max(len(block), 1)
    return size
