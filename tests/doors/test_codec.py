"""The codec endpoint, as the Temporal UI uses it."""

import base64
import json

import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payloads
from temporalio.converter import DataConverter

from storage import groups
from storage.identity import Secrets
from tests.doors.conftest import SECRET, House
from workflows.converter import data_converter

UI = "http://127.0.0.1:8233"


async def sealed(value: object) -> str:
    converter: DataConverter = data_converter(Secrets(SECRET).key("payloads"))
    return json_format.MessageToJson(Payloads(payloads=await converter.encode([value])))


def endpoint(house: House) -> str:
    return f"/codec/{house.settings.resolved().codec_token}"


async def test_the_ui_reads_payloads_and_only_its_origin_may(lonely: House) -> None:
    body = await sealed({"prompt": "hello"})
    assert "hello" not in body
    async with lonely.rest(None, Origin=UI) as client:
        asked = await client.options(f"{endpoint(lonely)}/decode")
        answer = await client.post(f"{endpoint(lonely)}/decode", content=body)
    assert asked.headers["Access-Control-Allow-Origin"] == answer.headers["Access-Control-Allow-Origin"] == UI
    assert "X-Namespace" in asked.headers["Access-Control-Allow-Headers"]
    [payload] = answer.json()["payloads"]
    assert json.loads(base64.b64decode(payload["data"])) == {"prompt": "hello"}
    async with lonely.rest(None, Origin="http://evil.example") as client:
        foreign = await client.post(f"{endpoint(lonely)}/decode", content=body)
        asked = await client.options(f"{endpoint(lonely)}/decode")
    assert not [name for answer in (foreign, asked) for name in answer.headers if name.startswith("access-control")]


async def test_what_is_encoded_can_be_decoded(lonely: House) -> None:
    plain = {"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "IngiCg=="}]}
    async with lonely.rest(None) as client:
        there = await client.post(f"{endpoint(lonely)}/encode", json=plain)
        back = await client.post(f"{endpoint(lonely)}/decode", content=there.content)
    assert there.json() != plain
    assert back.json() == plain


@pytest.mark.parametrize(("key", "status"), [("root", 200), ("rosa", 403), (None, 401)])
async def test_an_operator_may_use_his_key_instead(lonely: House, key: str | None, status: int) -> None:
    async with lonely.rest(key) as client:
        answer = await client.post("/codec/operator/decode", content=await sealed("x"))
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("key", "headers", "status"),
    [
        ("root", {"X-Group-Context": "platform"}, 200),
        ("root", {"X-Group-Override": "tenant"}, 403),
        ("tina", {}, 403),
        ("capped", {}, 403),
        ("scoped", {}, 403),
    ],
)
async def test_who_does_not_administer_every_group_is_no_operator(
    lonely: House, key: str, headers: dict[str, str], status: int
) -> None:
    """The tenant wrote `*:*` down for its own members; the platform caps one user, and one key."""
    pepper = Secrets(SECRET).key("api-keys")
    async with lonely.database.write() as tx:
        await groups.create_group(tx, "tenant", name="Tenant", admin_level=2, permissions=["*:*"])
        await groups.create_user(tx, "tina", primary_group="tenant")
        await groups.create_user(tx, "capped", primary_group="platform", role=2)
        lonely.keys["tina"] = (await groups.create_key(tx, "tina", pepper=pepper)).token
        lonely.keys["capped"] = (await groups.create_key(tx, "capped", pepper=pepper)).token
        lonely.keys["scoped"] = (await groups.create_key(tx, "root", pepper=pepper, scopes=["models:*"])).token
    async with lonely.rest(key, **headers) as client:
        answer = await client.post("/codec/operator/decode", content=await sealed("x"))
    assert answer.status_code == status


async def test_a_wrong_token_or_body_is_refused(lonely: House) -> None:
    async with lonely.rest("root") as client:
        assert (await client.post("/codec/guess/decode", content=b"{}")).status_code == 404
        assert (await client.post(f"{endpoint(lonely)}/delete", content=b"{}")).status_code == 404
        assert (await client.post(f"{endpoint(lonely)}/decode", content=b"hello")).status_code == 422
        damaged = json.loads(await sealed("x"))
        damaged["payloads"][0]["data"] = base64.b64encode(b"x" * 40).decode()
        assert (await client.post(f"{endpoint(lonely)}/decode", json=damaged)).status_code == 422
