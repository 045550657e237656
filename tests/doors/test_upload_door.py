"""Sending a file to a front door."""

import os
from collections.abc import AsyncIterator

from storage.uploads import MAX_LYING, Uploads
from tests.doors.conftest import House

PATH = "/api/v1/admin/uploads"


async def test_what_one_user_may_have_lying_about_is_bounded(lonely: House) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"{}"

    url = lonely.settings.resolved().uploads_url
    async with lonely.rest("rosa") as rosa, lonely.rest("root") as root:
        first = await rosa.post(PATH, content=b"{}\n")
        assert (first.status_code, first.json()["data"]["bytes"]) == (201, 3)
        for name in os.listdir(url):
            os.truncate(os.path.join(url, name), MAX_LYING)  # sparse
        for content in (b"{}", parts()):
            refused = await rosa.post(PATH, content=content)
            error = refused.json()["error"]
            assert (refused.status_code, error["code"], error["retryable"]) == (429, "rate_limited", True)
            assert refused.headers["retry-after"] == "60"
            assert "1,024 MiB" in error["message"]
            assert "Nothing of it was kept" in error["message"]
        assert (await root.post(PATH, content=b"{}")).status_code == 201, "others are not concerned"
        await Uploads(url).of("rosa").delete(first.json()["data"]["uploadId"])
        assert (await rosa.post(PATH, content=parts())).status_code == 201
