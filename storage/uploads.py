"""Uploaded files on their way into an ingestion: a folder, or an `s3://` address.

The front door writes, the worker reads, so this module stays light. An upload exists once it is whole, lies under the
name of the user who sent it, so that nobody else comes upon it, and is deleted when it was taken in or after a day.
"""

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Collection, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from domain.errors import CohortError, ErrorCode, invalid, not_found
from domain.ids import new_id

LIMIT = 256 << 20
"""Bytes of one upload."""
MAX_LYING = 1 << 30
"""Bytes that one user may have in uploads which were not taken in yet."""
SMALLEST = 1 << 20
"""Bytes that an upload counts as at least, so that `MAX_LYING` bounds their number too."""
MAX_AGE = 24 * 3600.0
"""Seconds after which an upload is taken in no more."""
_SLACK = 3600.0
"""Seconds between that and its deletion, so that a job which was accepted at the last moment is known by then."""
_PART = ".part"


@dataclass(frozen=True)
class Kept:
    """A whole upload."""

    id: str
    bytes: int


@dataclass(frozen=True)
class _Entry:
    name: str
    size: int
    modified: float

    @property
    def upload(self) -> str:
        return self.name.rpartition("/")[2].removesuffix(_PART)


class _Store(Protocol):
    """Byte strings, each named `owner/upload`. What is absent raises FileNotFoundError."""

    async def put(self, name: str, chunks: AsyncIterable[bytes]) -> None: ...
    async def read(self, name: str, offset: int, limit: int) -> bytes: ...
    async def find(self, name: str) -> _Entry: ...
    async def delete(self, name: str) -> None: ...
    async def entries(self, owner: str | None = None) -> list[_Entry]: ...


class Uploads:
    """Uploads below `url`: a path, `file://…` or `s3://bucket/prefix` (credentials from the environment, `AWS_…`)."""

    def __init__(self, url: str, *, max_lying: int = MAX_LYING) -> None:
        self._store: _Store = _Bucket(url) if url.startswith("s3://") else _Folder(Path(url.removeprefix("file://")))
        self._max_lying = max_lying
        self._arriving: dict[str, int] = {}

    def of(self, user_id: str) -> "UsersUploads":
        """Those of one user."""
        owner = hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return UsersUploads(self._store, owner, self._arriving, self._max_lying)

    async def expire(self, *, spare: Collection[str] = (), older_than: float = MAX_AGE + _SLACK) -> int:
        """Delete what has lain about for `older_than` seconds, except the uploads to `spare`; returns how many went.

        What a killed front door left half written goes too.

        Raises:
            OSError: the store is away; the next time does it.
        """
        oldest = time.time() - older_than
        old = [entry for entry in await self._store.entries() if entry.modified < oldest and entry.upload not in spare]
        for entry in old:
            await self._store.delete(entry.name)
        return len(old)


class UsersUploads:
    """The uploads of one user; another's are not there."""

    def __init__(self, store: _Store, owner: str, arriving: dict[str, int], max_lying: int) -> None:
        self._store = store
        self._owner = owner
        self._arriving = arriving
        self._max_lying = max_lying

    async def write(self, chunks: AsyncIterable[bytes], *, declared: int = 0, limit: int = LIMIT) -> Kept:
        """Store the whole content, as it arrives. `declared` is how many bytes it is said to have, 0 if it is not said.

        Raises:
            CohortError: `invalid_argument` above `limit` bytes or without any, `rate_limited` where too much lies here
                already; nothing of it is kept.
        """
        upload = new_id()
        name = self._name(upload)
        arriving = _Arriving(chunks, limit, self._max_lying - await self._lying(), name, self._arriving)
        if arriving.crowded(declared):
            raise self._crowded()
        whole = False
        try:
            await self._store.put(name, arriving.bounded())
            # Others may have arrived at other front doors meanwhile.
            whole = arriving.whole and await self._lying() <= self._max_lying
        finally:
            self._arriving.pop(name, None)
            if not whole:
                await self.delete(upload)
        if arriving.bytes > limit:
            raise invalid(("body", f"must be {limit >> 20} MiB or less; split the file and send the parts"))
        if arriving.bytes == 0:
            raise invalid(("body", "must not be empty; send the file as the body"))
        if not whole:
            raise self._crowded()
        return Kept(upload, arriving.bytes)

    async def waiting(self, upload: str) -> int:
        """The bytes of an upload that an ingestion may take in now.

        Raises:
            CohortError: `not_found` where there is no such upload, or it may be deleted at any moment.
        """
        entry = await self._found(upload)
        if entry.modified < time.time() - MAX_AGE:
            raise not_found("upload")
        return entry.size

    async def size(self, upload: str) -> int:
        """Its bytes.

        Raises:
            CohortError: `not_found` where there is no such upload, or only a part of it.
        """
        return (await self._found(upload)).size

    async def read_from(self, upload: str, offset: int, limit: int) -> bytes:
        """At most `limit` bytes from `offset` on; fewer only at the end.

        Raises:
            CohortError: `not_found` where there is no such upload.
        """
        try:
            return await self._store.read(self._name(upload), offset, limit)
        except FileNotFoundError:
            raise not_found("upload") from None

    async def delete(self, upload: str) -> None:
        """Forget an upload; one that is gone already is fine."""
        await self._store.delete(self._name(upload))

    def _name(self, upload: str) -> str:
        return f"{self._owner}/{upload}"

    async def _found(self, upload: str) -> _Entry:
        try:
            return await self._store.find(self._name(upload))
        except FileNotFoundError:
            raise not_found("upload") from None

    async def _lying(self) -> int:
        """What this user's whole uploads count as."""
        entries = await self._store.entries(self._owner)
        return _counted(entry.size for entry in entries if not entry.name.endswith(_PART))

    def _crowded(self) -> CohortError:
        return CohortError(
            ErrorCode.RATE_LIMITED,
            f"Your uploads that were not taken in yet may have {self._max_lying >> 20:,} MiB together, each counting "
            f"{SMALLEST >> 20} MiB at least, and with this one they would have more. Nothing of it was kept. Start the "
            "ingestions of the others and wait for their end; what nobody takes in is deleted after a day.",
            retry_after=60,
        )


class _Arriving:
    """Passes chunks on and counts them, up to a limit and as long as there is room.

    `received` holds how much of every upload has arrived that this process is receiving, by name.
    """

    def __init__(
        self, chunks: AsyncIterable[bytes], limit: int, room: int, name: str, received: dict[str, int]
    ) -> None:
        self._chunks = chunks
        self._limit = limit
        self._room = room
        self._name = name
        self._owner = name.partition("/")[0] + "/"
        self._received = received
        self.bytes = 0
        self.whole = False

    def crowded(self, size: int) -> bool:
        """Whether this upload finds no room if it has so many bytes."""
        others = (n for name, n in self._received.items() if name.startswith(self._owner) and name != self._name)
        if _counted([size, *others]) > self._room:
            return True
        self._received[self._name] = size
        return False

    async def bounded(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            if not chunk:
                continue
            self.bytes += len(chunk)
            if self.bytes > self._limit or self.crowded(self.bytes):
                # The store then keeps a cut file, which `write` deletes: raising here would reach it as a store error.
                return
            yield chunk
        self.whole = self.bytes > 0


class _Folder:
    """Plain files that only their owner may read, side by side: nobody need make or remove folders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, name: str, chunks: AsyncIterable[bytes]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._path(name + _PART)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
            os.replace(part, self._path(name))
        finally:
            part.unlink(missing_ok=True)

    async def read(self, name: str, offset: int, limit: int) -> bytes:
        return await asyncio.to_thread(_read, self._path(name), offset, limit)

    async def find(self, name: str) -> _Entry:
        status = self._path(name).stat()
        return _Entry(name, status.st_size, status.st_mtime)

    async def delete(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    async def entries(self, owner: str | None = None) -> list[_Entry]:
        return await asyncio.to_thread(self._entries, "" if owner is None else f"{owner}.")

    def _entries(self, start: str) -> list[_Entry]:
        if not self._folder.is_dir():
            return []
        found: list[_Entry] = []
        for path in self._folder.iterdir():
            if path.name.startswith(start):
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    found.append(_Entry(path.name.replace(".", "/", 1), status.st_size, status.st_mtime))
        return found

    def _path(self, name: str) -> Path:
        return self._folder / name.replace("/", ".", 1)


class _Bucket:
    """Objects of an S3 store."""

    def __init__(self, url: str) -> None:
        # Imported here: most front doors run on a folder and need none of it.
        import obstore.store

        self._obstore: Any = obstore
        self._store: Any = obstore.store.from_url(url)

    async def put(self, name: str, chunks: AsyncIterable[bytes]) -> None:
        await self._obstore.put_async(self._store, name, chunks)

    async def read(self, name: str, offset: int, limit: int) -> bytes:
        size = (await self.find(name)).size
        if offset >= size:
            return b""
        found = await self._obstore.get_range_async(self._store, name, start=offset, end=min(offset + limit, size))
        return bytes(found)

    async def find(self, name: str) -> _Entry:
        return _entry(await self._obstore.head_async(self._store, name))

    async def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._away():
            await self._obstore.delete_async(self._store, name)

    async def entries(self, owner: str | None = None) -> list[_Entry]:
        found: list[_Entry] = []
        with self._away():
            async for page in self._obstore.list(self._store, owner):
                found += [_entry(each) for each in page]
        return found

    @contextlib.contextmanager
    def _away(self) -> Generator[None]:
        try:
            yield
        except self._obstore.exceptions.BaseError as error:
            raise OSError("the object store did not answer as it should") from error


def _entry(described: Any) -> _Entry:
    return _Entry(described["path"], described["size"], described["last_modified"].timestamp())


def _counted(sizes: Iterable[int]) -> int:
    return sum(max(size, SMALLEST) for size in sizes)


def _read(path: Path, offset: int, limit: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(limit)
