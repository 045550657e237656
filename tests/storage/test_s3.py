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
    ada = uploads.of("ada")
    upload = await ada.write(mebibytes(12))
    assert upload.bytes == await ada.size(upload.id) == await ada.waiting(upload.id) == 12 * MIB
    assert await ada.read_from(upload.id, 7 * MIB - 1, 2) == b"\x06\x07"
    assert await ada.read_from(upload.id, 12 * MIB, 9) == b""
    with pytest.raises(CohortError, match="no such upload"):
        await uploads.of("sam").waiting(upload.id)
    await ada.delete(upload.id)
    await ada.delete(upload.id)
    with pytest.raises(CohortError, match="no such upload"):
        await ada.size(upload.id)


async def test_forgotten_uploads_go(s3: S3) -> None:
    uploads = Uploads(f"s3://{s3.bucket}/forgotten")
    old = await uploads.of("ada").write(mebibytes(1))
    used = await uploads.of("sam").write(mebibytes(1))
    assert await uploads.expire(older_than=3600) == 0
    assert await uploads.expire(older_than=-60, spare={used.id}) == 1
    assert await uploads.of("sam").size(used.id) == MIB
    with pytest.raises(CohortError, match="no such upload"):
        await uploads.of("ada").size(old.id)
    assert await uploads.expire(older_than=-60) == 1


async def test_one_user_may_have_so_much_lying_about(s3: S3) -> None:
    uploads = Uploads(f"s3://{s3.bucket}/crowded", max_lying=4 * MIB)
    ada = uploads.of("ada")
    kept = await ada.write(mebibytes(3))
    with pytest.raises(CohortError, match="may have 4 MiB together"):
        await ada.write(mebibytes(2))
    await uploads.of("sam").write(mebibytes(4))
    await ada.delete(kept.id)
    await ada.write(mebibytes(4))
    assert await uploads.expire(older_than=-60) == 2, "nothing is left of what was refused"


async def test_a_store_that_is_away_is_said(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(OSError, match="did not answer as it should"):
        await Uploads(f"s3://{s3.bucket}/uploads").expire()


async def test_uploads_that_are_not_whole(s3: S3) -> None:
    async def torn() -> AsyncIterator[bytes]:
        yield b"x"
        raise ConnectionError("the client went away")

    uploads = Uploads(f"s3://{s3.bucket}/torn")
    for content, problem in ((mebibytes(9), "MiB or less"), (mebibytes(0), "must not be empty")):
        with pytest.raises(CohortError, match=problem):
            await uploads.of("ada").write(content, limit=8 * MIB)
    with pytest.raises(ConnectionError):
        await uploads.of("ada").write(torn())
    assert await uploads.expire(older_than=-60) == 0, "nothing was left"


async def test_vectors(s3: S3) -> None:
    vectors = await Vectors.open(f"s3://{s3.bucket}/vectors", dimensions=DIMENSIONS)
    await vectors.upsert_products([product("a", "a lamp"), product("b", "a stove")])
    await vectors.upsert_products([product("a", "a lamp", version=2)])
    await vectors.optimize("products")
    again = await Vectors.open(f"s3://{s3.bucket}/vectors", dimensions=DIMENSIONS)
    hits = await again.search_products(visibility(member("acme")), ProductFilters(), [], "lamp", vector_of("lamp"))
    assert [hit.ref.id for hit in hits] == ["a", "b"]
