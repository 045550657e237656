"""Uploads and vectors on a real S3 store."""

from collections.abc import AsyncIterator, Iterator

import pytest

from domain.errors import CohortError
from domain.policy import visibility
from domain.products import ProductFilters
from storage.uploads import Uploads
from storage.vectors import Vectors
from tests.storage.vector_worlds import DIMENSIONS, member, product, vector_of
from tests.support.s3 import S3, s3_server

MIB = 1 << 20


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(autouse=True)
def credentials(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)


async def mebibytes(many: int) -> AsyncIterator[bytes]:
    for number in range(many):
        yield bytes([number]) * MIB


async def test_uploads(s3: S3) -> None:
    uploads = Uploads(f"s3://{s3.bucket}/uploads")
    upload = await uploads.create("ada")
    assert await uploads.write(upload, mebibytes(12)) == 12 * MIB
    assert await uploads.owner(upload) == "ada"
    assert await uploads.size(upload) == 12 * MIB
    assert await uploads.read_from(upload, 7 * MIB - 1, 2) == b"\x06\x07"
    assert await uploads.read_from(upload, 12 * MIB, 9) == b""
    assert await uploads.expire(older_than=3600) == 0
    await uploads.delete(upload)
    await uploads.delete(upload)
    assert await uploads.owner(upload) is None
    with pytest.raises(CohortError, match="no such upload"):
        await uploads.size(upload)


async def test_uploads_that_are_not_whole(s3: S3) -> None:
    async def torn() -> AsyncIterator[bytes]:
        yield b"x"
        raise ConnectionError("the client went away")

    uploads = Uploads(f"s3://{s3.bucket}/uploads")
    for content, problem in ((mebibytes(9), "MiB or less"), (mebibytes(0), "must not be empty")):
        upload = await uploads.create("ada")
        with pytest.raises(CohortError, match=problem):
            await uploads.write(upload, content, limit=8 * MIB)
        assert await uploads.owner(upload) is None
    upload = await uploads.create("ada")
    with pytest.raises(ConnectionError):
        await uploads.write(upload, torn())
    assert await uploads.owner(upload) is None
    assert await uploads.expire(older_than=-60) == 0, "nothing was left"


async def test_vectors(s3: S3) -> None:
    vectors = await Vectors.open(f"s3://{s3.bucket}/vectors", dimensions=DIMENSIONS)
    await vectors.upsert_products([product("a", "a lamp"), product("b", "a stove")])
    await vectors.upsert_products([product("a", "a lamp", version=2)])
    await vectors.optimize("products")
    again = await Vectors.open(f"s3://{s3.bucket}/vectors", dimensions=DIMENSIONS)
    hits = await again.search_products(visibility(member("acme")), ProductFilters(), [], "lamp", vector_of("lamp"))
    assert [hit.ref.id for hit in hits] == ["a", "b"]
