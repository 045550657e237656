"""Uploads in a folder, and their lines."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.errors import CohortError, ErrorCode
from domain.ids import new_id
from storage.upload_lines import Slice, read_slice
from storage.uploads import SMALLEST, Uploads, UsersUploads


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(str(tmp_path / "uploads"))


@pytest.fixture
def ada(uploads: Uploads) -> UsersUploads:
    return uploads.of("ada")


def code_of(refused: pytest.ExceptionInfo[CohortError]) -> ErrorCode:
    return refused.value.code


async def test_an_upload_is_kept_as_it_came(ada: UsersUploads, tmp_path: Path) -> None:
    upload = await ada.write(chunks(b"one\n", b"", b"two\n"))
    assert upload.bytes == await ada.size(upload.id) == await ada.waiting(upload.id) == 8
    assert await ada.read_from(upload.id, 2, 4) == b"e\ntw"
    assert await ada.read_from(upload.id, 8, 4) == b""
    for path in (tmp_path / "uploads").iterdir():
        assert path.stat().st_mode & 0o077 == 0, "only its owner may read it"
    await ada.delete(upload.id)
    await ada.delete(upload.id)
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_an_upload_is_its_senders(uploads: Uploads, ada: UsersUploads) -> None:
    upload = await ada.write(chunks(b"one"))
    for user in ("", "ad", "ada ", "Ada", "sam", "../ada", "\ud800"):
        with pytest.raises(CohortError, match="no such upload"):
            await uploads.of(user).waiting(upload.id)
        await uploads.of(user).delete(upload.id)
    assert await ada.read_from(upload.id, 0, 9) == b"one"


async def test_what_is_not_whole_is_not_there(ada: UsersUploads, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        await ada.write(torn())
    assert list((tmp_path / "uploads").iterdir()) == []


async def torn() -> AsyncIterator[bytes]:
    yield b"one\n"
    raise ConnectionError("the client went away")


@pytest.mark.parametrize(("parts", "problem"), [((b"x" * 6, b"x" * 5), "MiB or less"), ((), "must not be empty")])
async def test_too_much_or_nothing_is_refused(
    ada: UsersUploads, tmp_path: Path, parts: tuple[bytes, ...], problem: str
) -> None:
    with pytest.raises(CohortError, match=problem) as refused:
        await ada.write(chunks(*parts), limit=10)
    assert code_of(refused) is ErrorCode.INVALID_ARGUMENT
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_unknown_uploads_are_not_found(ada: UsersUploads) -> None:
    for read in (ada.size(new_id()), ada.waiting(new_id()), ada.read_from(new_id(), 0, 1)):
        with pytest.raises(CohortError, match="no such upload"):
            await read


async def test_forgotten_uploads_go(uploads: Uploads, ada: UsersUploads, tmp_path: Path) -> None:
    assert await uploads.expire() == 0
    old, used, fresh = [await ada.write(chunks(b"x")) for _ in range(3)]
    folder = tmp_path / "uploads"
    [whole] = folder.glob(f"*{old.id}")
    left = whole.with_name(f"{whole.name.removesuffix(old.id)}{new_id()}.part")
    left.write_bytes(b"what a killed front door had received")
    for path in (*folder.glob(f"*{old.id}"), *folder.glob(f"*{used.id}"), left):
        os.utime(path, (1, 1))
    assert await uploads.expire(spare={used.id}) == 2
    assert not left.exists()
    with pytest.raises(CohortError, match="no such upload"):
        await ada.size(old.id)
    assert await ada.size(used.id) == await ada.size(fresh.id) == 1
    with pytest.raises(CohortError, match="no such upload"):
        await ada.waiting(used.id)  # too late for another job
    assert await uploads.expire() == 1


async def test_one_user_may_have_so_much_lying_about(tmp_path: Path) -> None:
    uploads = Uploads(str(tmp_path / "uploads"), max_lying=4 * SMALLEST)
    ada = uploads.of("ada")
    kept = [await ada.write(chunks(b"x" * (2 * SMALLEST))), await ada.write(chunks(b"small"))]
    for content, declared in ((b"x" * (SMALLEST + 1), 0), (b"x", SMALLEST + 1)):
        with pytest.raises(CohortError, match="may have 4 MiB together") as refused:
            await ada.write(chunks(content), declared=declared)
        assert code_of(refused) is ErrorCode.RATE_LIMITED
        assert refused.value.details["retryAfter"] == 60
    kept.append(await ada.write(chunks(b"tiny"), declared=4))
    with pytest.raises(CohortError, match="counting 1 MiB at least"):
        await ada.write(chunks(b"one more"))
    assert (await uploads.of("sam").write(chunks(b"x" * (4 * SMALLEST)))).bytes == 4 * SMALLEST
    assert len(list((tmp_path / "uploads").iterdir())) == 4, "nothing is left of what was refused"
    for upload in kept:
        await ada.delete(upload.id)
    assert (await ada.write(chunks(b"x" * (4 * SMALLEST)))).bytes == 4 * SMALLEST


async def test_uploads_at_the_same_time_count_together(tmp_path: Path) -> None:
    """At one front door while they arrive, at several as soon as they have."""
    folder = str(tmp_path / "uploads")
    one, another = (Uploads(folder, max_lying=4 * SMALLEST) for _ in range(2))
    gate = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * (3 * SMALLEST)
        await gate.wait()
        yield b"x"

    first = asyncio.create_task(one.of("ada").write(slow()))
    while not list((tmp_path / "uploads").glob("*.part")):
        await asyncio.sleep(0)
    with pytest.raises(CohortError, match="may have 4 MiB"):
        await one.of("ada").write(chunks(b"x" * SMALLEST, b"x"))
    await one.of("sam").write(chunks(b"x" * SMALLEST, b"x"))
    await another.of("ada").write(chunks(b"x" * SMALLEST, b"x"))
    gate.set()
    with pytest.raises(CohortError, match="may have 4 MiB"):
        await first
    assert len(list((tmp_path / "uploads").iterdir())) == 2


async def all_slices(
    uploads: UsersUploads, content: bytes, *, longest: int = 100, rows: int = 3, room: int = 64
) -> list[Slice]:
    upload = (await uploads.write(chunks(content))).id
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
async def test_lines_are_numbered_through_all_slices(ada: UsersUploads, end: bytes) -> None:
    content = b"\xef\xbb\xbfone\r\n\n  two  \nthree\nfour\n\nfive" + end
    slices = await all_slices(ada, content)
    assert told(slices) == [(1, b"one"), (3, b"two"), (4, b"three"), (5, b"four"), (7, b"five")]
    assert max(len(one.lines) for one in slices) == 3


async def test_a_line_that_is_too_long_is_passed_over(ada: UsersUploads) -> None:
    long = b"x" * (3 << 20)
    for content in (b"a\n" + long + b"\nb", long + b"\nb\n", b"a\n" + long, b"a\n" + b"x" * 101 + b"\nb"):
        expected = [(number, None if len(line) > 100 else line) for number, line in enumerate(content.split(b"\n"), 1)]
        assert told(await all_slices(ada, content)) == [pair for pair in expected if pair[1] != b""]


async def test_slices_are_bounded_in_bytes(ada: UsersUploads) -> None:
    slices = await all_slices(ada, b"x" * 50 + b"\n" + b"y" * 50 + b"\n" + b"z" * 50, rows=100)
    assert [len(one.lines) for one in slices] == [2, 1]


async def test_blank_files_end(ada: UsersUploads) -> None:
    assert told(await all_slices(ada, b"\n" * 500)) == []
