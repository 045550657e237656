"""Uploaded files on their way into an ingestion: a folder, or an `s3://` address.

The front door writes, the worker reads, so this module stays light. An upload exists once it is whole, belongs to the
user who sent it, and is deleted when its ingestion has ended.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from domain.errors import invalid, not_found
from domain.ids import new_id

LIMIT = 256 << 20
"""Bytes of one upload."""
MAX_AGE = 24 * 3600.0
"""Seconds after which an upload that nothing took in may go."""


class _Store(Protocol):
    """Named byte strings. What is absent raises FileNotFoundError."""

    async def put(self, name: str, chunks: AsyncIterable[bytes]) -> None: ...
    async def read(self, name: str, offset: int, limit: int) -> bytes: ...
    async def size(self, name: str) -> int: ...
    async def delete(self, name: str) -> None: ...
    async def names_before(self, moment: float) -> list[str]: ...


class Uploads:
    """Uploads below `url`: a path, `file://…` or `s3://bucket/prefix` (credentials from the environment, `AWS_…`)."""

    def __init__(self, url: str) -> None:
        self._store: _Store = _Bucket(url) if url.startswith("s3://") else _Folder(Path(url.removeprefix("file://")))

    async def create(self, user_id: str) -> str:
        """The id of a new upload of this user; it holds nothing until `write` has ended."""
        upload = new_id()
        await self._store.put(f"{upload}.owner", _once(user_id.encode()))
        return upload

    async def write(self, upload: str, chunks: AsyncIterable[bytes], *, limit: int = LIMIT) -> int:
        """Store the whole content, as it arrives; returns its bytes.

        Raises:
            CohortError: `invalid_argument` above `limit` bytes or without any; nothing of it is kept.
        """
        counted = _Counted(chunks, limit)
        whole = False
        try:
            await self._store.put(f"{upload}.data", counted.bounded())
            whole = 0 < counted.bytes <= limit
        finally:
            if not whole:
                await self.delete(upload)
        if counted.bytes > limit:
            raise invalid(("body", f"must be {limit // (1 << 20)} MiB or less; split the file and send the parts"))
        if not whole:
            raise invalid(("body", "must not be empty; send the file as the body"))
        return counted.bytes

    async def owner(self, upload: str) -> str | None:
        """The user who sent it, or None where there is no such upload."""
        try:
            return (await self._store.read(f"{upload}.owner", 0, 1_024)).decode()
        except FileNotFoundError:
            return None

    async def size(self, upload: str) -> int:
        """Its bytes.

        Raises:
            CohortError: `not_found` where there is no such upload, or only a part of it.
        """
        try:
            return await self._store.size(f"{upload}.data")
        except FileNotFoundError:
            raise not_found("upload") from None

    async def read_from(self, upload: str, offset: int, limit: int) -> bytes:
        """At most `limit` bytes from `offset` on; fewer only at the end.

        Raises:
            CohortError: `not_found` where there is no such upload.
        """
        try:
            return await self._store.read(f"{upload}.data", offset, limit)
        except FileNotFoundError:
            raise not_found("upload") from None

    async def delete(self, upload: str) -> None:
        """Forget an upload; one that is gone already is fine."""
        await self._store.delete(f"{upload}.data")
        await self._store.delete(f"{upload}.owner")

    async def expire(self, *, older_than: float = MAX_AGE) -> int:
        """Delete uploads that have lain about for `older_than` seconds; returns how many files went."""
        old = await self._store.names_before(time.time() - older_than)
        for name in old:
            await self._store.delete(name)
        return len(old)


class _Counted:
    """Passes chunks on and counts them, up to a limit."""

    def __init__(self, chunks: AsyncIterable[bytes], limit: int) -> None:
        self._chunks = chunks
        self._limit = limit
        self.bytes = 0

    async def bounded(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            if not chunk:
                continue
            self.bytes += len(chunk)
            if self.bytes > self._limit:
                # The store then keeps a cut file, which `write` deletes: raising here would reach it as a store error.
                return
            yield chunk


class _Folder:
    """Plain files that only their owner may read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, name: str, chunks: AsyncIterable[bytes]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._folder / f"{name}.part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
            os.replace(part, self._folder / name)
        finally:
            part.unlink(missing_ok=True)

    async def read(self, name: str, offset: int, limit: int) -> bytes:
        return await asyncio.to_thread(_read, self._folder / name, offset, limit)

    async def size(self, name: str) -> int:
        return (self._folder / name).stat().st_size

    async def delete(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    async def names_before(self, moment: float) -> list[str]:
        if not self._folder.is_dir():
            return []
        old: list[str] = []
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < moment:
                    old.append(path.name)
        return old


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
        size = await self.size(name)
        if offset >= size:
            return b""
        found = await self._obstore.get_range_async(self._store, name, start=offset, end=min(offset + limit, size))
        return bytes(found)

    async def size(self, name: str) -> int:
        return (await self._obstore.head_async(self._store, name))["size"]

    async def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            await self._obstore.delete_async(self._store, name)

    async def names_before(self, moment: float) -> list[str]:
        old: list[str] = []
        async for page in self._obstore.list(self._store):
            old += [entry["path"] for entry in page if entry["last_modified"].timestamp() < moment]
        return old


def _read(path: Path, offset: int, limit: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(limit)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
