"""Uploads in a folder, and their lines."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.errors import CohortError, ErrorCode
from domain.ids import new_id
from storage.upload_lines import Slice, read_slice
from storage.uploads import Uploads


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(str(tmp_path / "uploads"))


async def test_an_upload_is_kept_as_it_came(uploads: Uploads, tmp_path: Path) -> None:
    upload = await uploads.create("ada")
    assert await uploads.write(upload, chunks(b"one\n", b"", b"two\n")) == 8
    assert await uploads.owner(upload) == "ada"
    assert await uploads.size(upload) == 8
    assert await uploads.read_from(upload, 2, 4) == b"e\ntw"
    assert await uploads.read_from(upload, 8, 4) == b""
    for path in (tmp_path / "uploads").iterdir():
        assert path.stat().st_mode & 0o077 == 0, "only its owner may read it"
    await uploads.delete(upload)
    await uploads.delete(upload)
    assert await uploads.owner(upload) is None
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_what_is_not_whole_is_not_there(uploads: Uploads, tmp_path: Path) -> None:
    async def torn() -> AsyncIterator[bytes]:
        yield b"one\n"
        raise ConnectionError("the client went away")

    upload = await uploads.create("ada")
    with pytest.raises(ConnectionError):
        await uploads.write(upload, torn())
    with pytest.raises(CohortError) as refused:
        await uploads.size(upload)
    assert refused.value.code is ErrorCode.NOT_FOUND
    assert list((tmp_path / "uploads").iterdir()) == []


@pytest.mark.parametrize(("parts", "problem"), [((b"x" * 6, b"x" * 5), "MiB or less"), ((), "must not be empty")])
async def test_too_much_or_nothing_is_refused(uploads: Uploads, parts: tuple[bytes, ...], problem: str) -> None:
    upload = await uploads.create("ada")
    with pytest.raises(CohortError, match=problem) as refused:
        await uploads.write(upload, chunks(*parts), limit=10)
    assert refused.value.code is ErrorCode.INVALID_ARGUMENT
    assert await uploads.owner(upload) is None


async def test_unknown_uploads_are_not_found(uploads: Uploads) -> None:
    assert await uploads.owner(new_id()) is None
    for read in (uploads.size(new_id()), uploads.read_from(new_id(), 0, 1)):
        with pytest.raises(CohortError, match="no such upload"):
            await read


async def test_forgotten_uploads_go(uploads: Uploads, tmp_path: Path) -> None:
    assert await uploads.expire() == 0
    old, fresh = [await uploads.create("ada") for _ in range(2)]
    for upload in (old, fresh):
        await uploads.write(upload, chunks(b"x"))
    for path in (tmp_path / "uploads").glob(f"{old}*"):
        os.utime(path, (1, 1))
    assert await uploads.expire(older_than=60) == 2
    assert await uploads.owner(old) is None
    assert await uploads.size(fresh) == 1


async def all_slices(
    uploads: Uploads, content: bytes, *, longest: int = 100, rows: int = 3, room: int = 64
) -> list[Slice]:
    upload = await uploads.create("ada")
    await uploads.write(upload, chunks(content))
    slices: list[Slice] = []
    offset, line = 0, 1
    while not slices or not slices[-1].done:
        slices.append(
            await read_slice(uploads, upload, offset=offset, line=line, longest=longest, rows=rows, room=room)
        )
        offset, line = slices[-1].next_offset, slices[-1].next_line
        assert len(slices) < 1_000, "a slice must get on"
    return slices


def told(slices: list[Slice]) -> list[tuple[int, bytes | None]]:
    return [(line.number, line.content) for one in slices for line in one.lines]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\n\n"])
async def test_lines_are_numbered_through_all_slices(uploads: Uploads, end: bytes) -> None:
    content = b"\xef\xbb\xbfone\r\n\n  two  \nthree\nfour\n\nfive" + end
    slices = await all_slices(uploads, content)
    assert told(slices) == [(1, b"one"), (3, b"two"), (4, b"three"), (5, b"four"), (7, b"five")]
    assert max(len(one.lines) for one in slices) == 3


async def test_a_line_that_is_too_long_is_passed_over(uploads: Uploads) -> None:
    long = b"x" * (3 << 20)
    for content in (b"a\n" + long + b"\nb", long + b"\nb\n", b"a\n" + long, b"a\n" + b"x" * 101 + b"\nb"):
        expected = [(number, None if len(line) > 100 else line) for number, line in enumerate(content.split(b"\n"), 1)]
        assert told(await all_slices(uploads, content)) == [pair for pair in expected if pair[1] != b""]


async def test_slices_are_bounded_in_bytes(uploads: Uploads) -> None:
    slices = await all_slices(uploads, b"x" * 50 + b"\n" + b"y" * 50 + b"\n" + b"z" * 50, rows=100)
    assert [len(one.lines) for one in slices] == [2, 1]


async def test_blank_files_end(uploads: Uploads) -> None:
    assert told(await all_slices(uploads, b"\n" * 500)) == []
