"""What is refused at the door, each line over REST and over MCP, in plain sentences that name the field."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import RequestParamsMeta

from tests.doors.conftest import URL, House, open_house, settings_of
from tests.doors.reading import seen

COMPLETIONS = "/api/v1/completions"
DEEP: Any = json.loads('{"a":' * 40 + "1" + "}" * 40)


def fields(body: dict[str, Any]) -> list[str]:
    return [each["field"] for each in body["error"]["details"]["fields"]]


async def over_mcp(house: House, tool: str, arguments: dict[str, Any], mode: str = "2026-07-28") -> dict[str, Any]:
    """The envelope of a refused tool call, with the sentences that its text has."""
    async with house.http2() as http, house.mcp(http, mode) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    body: dict[str, Any] = result.structured_content
    text = seen(result.content[0].model_dump()["text"])
    if "fields" not in body["error"].get("details", {}):
        assert body["error"]["message"] in text
    else:
        for each in body["error"]["details"]["fields"]:
            assert text.count(f"{each['field']}: {each['problem']}") == 1
    assert "pydantic" not in text
    assert "Input should" not in text
    return body


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (None, "No API key"),
        ("", "No API key"),
        ("hello", "not a whole API key"),
        ("cohort_0123456789abcdef_" + "A" * 43 + "_00000000", "not a whole API key"),
        ("expired", "expired"),
        ("revoked", "revoked"),
    ],
)
async def test_bad_keys(lonely: House, key: str | None, says: str) -> None:
    async with lonely.rest(key) as client:
        answer = await client.get("/api/v1/groups")
        mcp = await client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert answer.status_code == mcp.status_code == 401
    assert answer.headers["WWW-Authenticate"] == mcp.headers["WWW-Authenticate"] == 'Bearer realm="cohort"'
    assert answer.json()["error"]["code"] == "unauthenticated"
    assert says in answer.json()["error"]["message"]
    assert mcp.json()["error"]["message"] == answer.json()["error"]["message"]
    assert mcp.json()["error"]["data"]["error"] == answer.json()["error"]


async def test_a_wrong_key_is_answered_as_an_unknown_one(lonely: House) -> None:
    from domain.keys import new_key

    unknown = new_key().token
    async with lonely.rest(unknown) as client:
        answer = await client.get("/api/v1/groups")
    assert answer.status_code == 401
    assert unknown not in answer.text


async def test_two_different_keys_are_refused_and_equal_ones_are_one(lonely: House) -> None:
    async with lonely.rest("rosa", Authorization=f"Bearer {lonely.keys['rudi']}") as client:
        assert "different keys" in (await client.get("/api/v1/groups")).json()["error"]["message"]
    async with lonely.rest("rosa", Authorization=f"Bearer {lonely.keys['rosa']}") as client:
        assert (await client.get("/api/v1/groups")).status_code == 503  # through the door; Temporal is away
    async with lonely.rest(None, Authorization=f"bearer {lonely.keys['rosa']}") as client:
        assert (await client.get("/api/v1/groups")).status_code == 503


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({}, ["prompt"]),
        ({"prompt": 1}, ["prompt"]),
        ({"prompt": "a", "maxTokens": "5"}, ["maxTokens"]),
        ({"prompt": "a", "maxTokens": 0, "temperature": 3}, ["maxTokens", "temperature"]),
        ({"prompt": "a", "maxToken": 5}, ["maxToken"]),
        ({"prompt": "a", "max_tokens": 5}, ["max_tokens"]),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, ["prompt"]),
        ({"messages": [{"role": "bot", "content": "b"}]}, ["messages.0.role"]),
        ({"prompt": "a", "retrieval": {"topK": 99}}, ["retrieval.topK"]),
        ({"prompt": "a", "retrieval": 3}, ["retrieval"]),
        ({"prompt": "a\0b"}, ["data.prompt"]),
        ({"prompt": " \n\t\u3000"}, ["prompt"]),
        ({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "  "}]}, ["messages"]),
        ([], ["data"]),
        ("x", ["data"]),
    ],
)
async def test_wrong_fields_over_rest(lonely: House, data: Any, named: list[str]) -> None:
    async with lonely.rest() as client:
        answer = await client.post(COMPLETIONS, json={"data": data})
    assert answer.status_code == 422
    assert fields(answer.json()) == named
    assert answer.json()["error"]["retryable"] is False


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, ["prompt"]),
        ({"prompt": 1}, ["prompt"]),
        ({"prompt": "a", "max_tokens": "5"}, ["max_tokens"]),
        ({"prompt": "a", "max_tokens": 0, "temperature": 3}, ["max_tokens", "temperature"]),
        ({"prompt": "a", "max_token": 5}, ["max_token"]),
        ({"prompt": "a", "maxTokens": 5}, ["maxTokens"]),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, ["prompt"]),
        ({"messages": [{"role": "bot", "content": "b"}]}, ["messages.0.role"]),
        ({"prompt": "a", "retrieval_top_k": 99}, ["retrieval_top_k"]),
        ({"prompt": "a", "retrieval": {"topK": 3}}, ["retrieval"]),
        ({"prompt": "a", "group_override": "acme"}, ["group_override"]),
        ({"prompt": "a", "group_context": 7}, ["group_context"]),
        ({"prompt": "a", "group_context": "Not A Group"}, ["group_context"]),
        ({"prompt": "a", "idempotency_key": ""}, ["idempotency_key"]),
    ],
)
@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_wrong_arguments_over_mcp(lonely: House, arguments: Any, named: list[str], mode: str) -> None:
    body = await over_mcp(lonely, "completions_create", arguments, mode)
    assert body["error"]["code"] == "invalid_argument"
    assert fields(body) == named


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=five", "limit"),
        ("limit=5.0", "limit"),
        ("minPrice=-1", "minPrice"),
        ("minPrice=NaN", "minPrice"),
        ("minPrice=1e999", "minPrice"),
        ("minPrice=9&maxPrice=2", "minPrice"),
        ("attributes=red", "attributes"),
        ("attributes=[]", "attributes"),
        ('attributes={"a":{"b":1}}', "attributes.a"),
        ("sort=best", "sort"),
        ("lmit=5", "lmit"),
        ("limit=5&limit=6", "limit"),
        ("query=%FF", "query"),
        ("query=%00", "query"),
        ("query=" + "a" * 1001, "query"),
    ],
)
async def test_wrong_query_parameters(lonely: House, query: str, named: str) -> None:
    async with lonely.rest() as client:
        answer = await client.get(f"/api/v1/products?{query}")
    assert answer.status_code == 422
    assert fields(answer.json()) == [named]


HUGE = b'{"data": {"prompt": "' + b"a" * (256 * 1024) + b'"}}'
BODIES = [
    (b"", "empty"),
    (b"   ", "empty"),
    (HUGE, "256 KiB"),
    (json.dumps({"data": {"prompt": "a", "responseFormat": DEEP}}).encode(), "32 levels"),
    (b"[" * 100_000, "32 levels"),
    (b'{"data": {"prompt": "\xff"}}', "UTF-8"),
    (b'{"data": {"prompt": "\\ud800"}}', "valid JSON"),
    (b'{"data": ', "valid JSON"),
    (b'{"data": {"temperature": NaN}}', "valid JSON"),
]


@pytest.mark.parametrize(("content", "says"), BODIES, ids=[says + str(at) for at, (_, says) in enumerate(BODIES)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bad_bodies_over_both_doors(lonely: House, content: bytes, says: str, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 10_000):
            yield content[start : start + 10_000]

    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    async with lonely.rest() as client:
        rest = await client.post(COMPLETIONS, content=pieces() if chunked else content, headers=headers)
        mcp = await client.post("/mcp", content=pieces() if chunked else content, headers=headers)
    assert rest.status_code == 422
    assert fields(rest.json()) == ["body"]
    assert says in rest.json()["error"]["message"]
    assert mcp.status_code == 400
    assert mcp.json()["error"]["message"] == rest.json()["error"]["message"]
    assert mcp.json()["error"]["data"]["error"] == rest.json()["error"]
    assert mcp.json()["id"] is None


async def test_an_mcp_client_reads_why_a_huge_call_was_refused(lonely: House) -> None:
    async with lonely.http2() as http, lonely.mcp(http) as client:
        with pytest.raises(MCPError, match="256 KiB"):
            await client.call_tool("completions_create", {"prompt": "a" * 300_000})


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "body"),
        ({}, "data"),
        ({"data": None}, "data"),
        ({"data": {"prompt": "a"}, "meta": {}}, "meta"),
        ({"data": {"prompt": "a"}, "metadata": {"priority": "urgent"}}, "metadata.priority"),
        ({"data": {"prompt": "a"}, "metadata": {"userID": "u"}}, "metadata.userID"),
        ({"data": {"prompt": "a"}, "metadata": {"groupOverride": "Not A Group"}}, "metadata.groupOverride"),
        ({"data": {"prompt": "a"}, "metadata": 5}, "metadata"),
    ],
)
async def test_a_wrong_envelope(lonely: House, body: Any, named: str) -> None:
    async with lonely.rest() as client:
        answer = await client.post(COMPLETIONS, json=body)
    assert answer.status_code == 422
    assert fields(answer.json()) == [named]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Correlation-ID", "a b"),
        ("X-Request-ID", "a" * 129),
        ("X-Group-Context", "Acme"),
        ("X-Group-Override", "a/b"),
        ("Idempotency-Key", "a" * 129),
    ],
)
async def test_bad_headers_over_both_doors(lonely: House, header: str, value: str) -> None:
    async with lonely.rest("rosa", **{header: value}) as client:
        rest = await client.post(COMPLETIONS, json={"data": {"prompt": "a"}})
    assert rest.status_code == 422
    assert fields(rest.json()) == [header]
    if header == "Idempotency-Key":
        return  # over MCP it is an argument
    async with lonely.http2("rosa", **{header: value}) as http, lonely.mcp(http) as client:
        if header in ("X-Correlation-ID", "X-Request-ID"):
            with pytest.raises(MCPError, match=header):
                await client.call_tool("groups_list", {})
        else:
            result = await client.call_tool("groups_list", {})
            assert fields(result.structured_content) == [header]


async def test_the_override_in_two_places_must_agree(lonely: House) -> None:
    async with lonely.rest("root", **{"X-Group-Override": "acme"}) as client:
        body = {"data": {"prompt": "a"}, "metadata": {"groupOverride": "research"}}
        answer = await client.post(COMPLETIONS, json=body)
    assert fields(answer.json()) == ["metadata.groupOverride"]


async def test_unknown_and_hidden_tools_are_answered_alike_whatever_else_is_wrong(lonely: House) -> None:
    """rudi may read products and nothing else; completions_create does not exist for him."""
    said: set[tuple[int, str]] = set()
    async with lonely.http2("rudi") as http, lonely.mcp(http) as client:
        listed = [tool.name for tool in (await client.list_tools()).tools]
        calls: list[tuple[str, dict[str, Any]]] = [
            ("no_such_tool", {}),
            ("completions_create", {}),
            ("completions_create", {"prompt": "a"}),
            ("completions_create", {"prompt": 5, "x": 1}),
            ("products_ingest", {}),
        ]
        for name, arguments in calls:
            with pytest.raises(MCPError) as refused:
                await client.call_tool(name, arguments)
            said.add((refused.value.code, refused.value.message))
    assert listed == ["products_search", "products_get", "groups_list", "groups_permissions", "health_check"]
    assert [code for code, _ in said] == [-32602]


async def test_an_agent_cannot_override_its_group(lonely: House) -> None:
    for name in ("groupOverride", "cohort/groupOverride"):
        async with lonely.http2("root") as http, lonely.mcp(http) as client:
            result = await client.call_tool("groups_list", {}, meta=cast(RequestParamsMeta, {name: "acme"}))
        assert fields(result.structured_content) == ["_meta.groupOverride"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/products/", 404),
        ("PUT", "/api/v1/products", 405),
        ("DELETE", COMPLETIONS, 405),
        ("GET", "/mcp", 405),
        ("POST", "/api/v1/health", 405),
    ],
)
async def test_unknown_paths_and_wrong_methods_are_enveloped(
    lonely: House, method: str, path: str, status: int
) -> None:
    async with lonely.rest() as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["success"] is False
    assert ("Allow" in answer.headers) == (status == 405)
    if status == 405:
        assert fields(answer.json()) == ["method"]
        assert answer.headers["Allow"] in answer.json()["error"]["message"]


async def test_a_body_that_is_not_json_by_its_type(lonely: House) -> None:
    async with lonely.rest() as client:
        answer = await client.post(COMPLETIONS, content=b"prompt=a", headers={"Content-Type": "text/plain"})
    assert fields(answer.json()) == ["Content-Type"]


async def test_temporal_down_is_503_and_retryable_over_both_doors(lonely: House) -> None:
    async with lonely.rest() as client:
        answer = await client.post(COMPLETIONS, json={"data": {"prompt": "a"}})
    assert answer.elapsed.total_seconds() < 3
    assert answer.status_code == 503
    assert answer.json()["error"]["retryable"] is True
    assert answer.headers["Retry-After"] == "1"
    body = await over_mcp(lonely, "completions_create", {"prompt": "a"})
    assert body["error"] == answer.json()["error"]


PING = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
STREAMS = {"Accept": "application/json, text/event-stream"}


async def test_another_host_name_is_refused_by_both_doors_and_the_setting_named(lonely: House) -> None:
    async with lonely.rest() as client:
        for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil"):
            mcp = await client.post(f"{URL}/mcp", json=PING, headers={"Host": host, **STREAMS})
            rest = await client.get("/api/v1/groups", headers={"Host": host})
            docs = await client.get("/docs", headers={"Host": host})
            assert mcp.status_code == rest.status_code == docs.status_code == 421
            assert fields(rest.json()) == ["Host"]
            assert "COHORT_ALLOWED_HOSTS" in rest.json()["error"]["message"]
            assert mcp.json()["error"]["message"] == rest.json()["error"]["message"]
            assert mcp.json()["error"]["data"]["error"] == rest.json()["error"]
            assert rest.headers["X-Correlation-ID"] == rest.json()["metadata"]["correlationId"]


async def test_own_names_and_addresses_are_answered(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "127.0.0.1:1", host="door.internal", allowed_hosts=["Cohort.Example"])
    own = ("door.internal", "cohort.example:443", "COHORT.example", "localhost:8080", "[::1]:8080", "192.0.2.7:8080")
    async with open_house(settings) as house, house.rest() as client:
        for host in own:
            assert (await client.get("/api/v1/health", headers={"Host": host})).status_code == 200
            answer = await client.post(f"{URL}/mcp", json=PING, headers={"Host": host, **STREAMS})
            assert answer.status_code == 200, host


async def test_web_pages_of_elsewhere_cannot_use_mcp(lonely: House) -> None:
    async with lonely.rest() as client:
        for origin in ("http://evil.example", "null", "http://192.0.2.7", "https://localhost.evil"):
            answer = await client.post(f"{URL}/mcp", json=PING, headers={"Origin": origin, **STREAMS})
            assert answer.status_code == 403
            assert answer.json()["error"]["data"]["error"]["code"] == "forbidden"
        own = await client.post(f"{URL}/mcp", json=PING, headers={"Origin": "http://localhost:3000", **STREAMS})
    assert own.status_code == 200


async def test_a_refusal_says_nothing_that_it_does_not_know(lonely: House) -> None:
    """Before a caller's rights are read, empty groups would read as no rights at all."""
    async with lonely.rest() as client:
        refusals = [
            await client.get("/api/v1/groups", headers={"X-API-Key": "cohort_wrong"}),
            await client.get("/api/v1/products?limit=0"),
            await client.get("/api/v1/nothing"),
            await client.get("/api/v1/groups"),  # Temporal is away
        ]
    for answer in refusals:
        assert set(answer.json()["metadata"]) == {"requestId", "correlationId", "timestamp", "latency"}


async def test_an_address_with_a_slash_in_an_id_says_why_it_is_none(lonely: House) -> None:
    async with lonely.rest() as client:
        answer = await client.get("/api/v1/products/a%2Fb")
        other = await client.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert "no id holds a slash (%2F)" in answer.json()["error"]["message"]
    assert other.json()["error"]["message"] == "There is nothing at this address. /docs lists what there is."
