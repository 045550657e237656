"""Both doors of the whole running stack: the same answers, and what only real answers show."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import fastmcp
import pytest
from fastmcp.client.transports import StreamableHttpTransport
from mcp.client.client import Client

from domain.ids import new_id
from mcp_server import mcp_door
from tests.doors.live import QUICK, QUICK_FLAT, http2, mcp, rest, tool
from tests.doors.reading import seen
from tests.support.stack import Stack

CALLS: list[tuple[str, dict[str, Any], str]] = [
    (
        "products_search",
        {"query": "tent", "limit": 3, "max_price": 500},
        "/api/v1/products?query=tent&limit=3&maxPrice=500",
    ),
    (
        "products_search",
        {"attributes": {"waterproof": True}, "limit": 2, "sort": "price_asc"},
        '/api/v1/products?attributes={"waterproof":true}&limit=2&sort=price_asc',
    ),
    ("products_get", {"id": "tarn-3-backpacking-tent"}, "/api/v1/products/tarn-3-backpacking-tent"),
    ("products_get", {"id": "no-such-thing"}, "/api/v1/products/no-such-thing"),
    ("groups_list", {}, "/api/v1/groups"),
    ("groups_permissions", {"id": "acme"}, "/api/v1/groups/acme/permissions"),
    ("groups_permissions", {"id": "partner"}, "/api/v1/groups/partner/permissions"),
]


def facts(value: Any) -> Iterator[str]:
    """Every fact of an envelope that is said in one piece."""
    if isinstance(value, dict):
        for each in value.values():
            yield from facts(each)
    elif isinstance(value, list):
        for each in value:
            yield from facts(each)
    elif value is not None and not isinstance(value, bool):
        yield " ".join(str(value).split())


def unsaid(body: dict[str, Any], text: str) -> list[str]:
    """The facts of an envelope that a reader of its text does not see."""
    shown = seen(text)
    return [fact for fact in facts(body) if fact not in shown]


def shape(body: dict[str, Any]) -> dict[str, Any]:
    """What must be equal at both doors: ids, times and sealed tokens differ from call to call."""
    pages = {name: value for name, value in body.get("pagination", {}).items() if name != "nextToken"}
    same = ("userGroups", "effectivePermissions", "dataAccessLevel")
    about = {name: body["metadata"][name] for name in same}
    return {**body, "pagination": pages, "metadata": about}


@pytest.mark.parametrize(("name", "arguments", "path"), CALLS, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_both_doors_answer_alike_and_the_text_says_every_fact(
    running: Stack, name: str, arguments: dict[str, Any], path: str, mode: str
) -> None:
    with rest(running, "research") as client:
        over_rest = client.get(path).json()
    async with http2(running, "research") as http, mcp(running, http, mode) as client:
        result = await client.call_tool(name, arguments)
    assert shape(result.structured_content) == shape(over_rest)
    assert result.is_error == (not over_rest["success"])
    assert unsaid(result.structured_content, result.content[0].model_dump()["text"]) == []


async def test_a_completion_says_what_it_used_and_where_it_came_from(running: Stack) -> None:
    asked = {"prompt": f"What is a tent? {new_id()}", "max_tokens": 8, "retrieval_top_k": 1, "products_limit": 1}
    async with http2(running, "research") as http, mcp(running, http) as client:
        result = await client.call_tool("completions_create", asked)
        again = await client.call_tool("completions_create", asked)
    body, metadata = result.structured_content, result.structured_content["metadata"]
    assert body["success"], body
    assert [each["index"] for each in body["data"]["citations"]] == [1, 2]
    assert {each["kind"] for each in body["data"]["citations"]} == {"document", "product"}
    assert metadata["cached"] is False
    assert "cacheAge" not in metadata
    assert metadata["tokensUsed"] == sum(body["data"]["usage"].values())
    assert unsaid(body, result.content[0].model_dump()["text"]) == []
    kept = again.structured_content
    assert kept["metadata"]["cached"] is True
    assert kept["metadata"]["cacheAge"] >= 0
    assert kept["data"]["text"] == body["data"]["text"]
    assert unsaid(kept, again.content[0].model_dump()["text"]) == []


def test_ids_are_echoed_and_nothing_unset_is_in_the_metadata(running: Stack) -> None:
    ids = {"X-Correlation-ID": f"c-{new_id()}", "X-Request-ID": f"r:{new_id()}"}
    with rest(running, "sales", **ids) as client:
        answer = client.get("/api/v1/groups")
    metadata = answer.json()["metadata"]
    assert (metadata["correlationId"], metadata["requestId"]) == tuple(ids.values())
    assert {name: answer.headers[name] for name in ids} == ids
    assert None not in metadata.values()
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_same_idempotency_key_gives_the_first_answer_and_refuses_another_body(running: Stack) -> None:
    key, prompt = f"k-{new_id()}", f"Say hello {new_id()}"
    with rest(running, "research", **{"Idempotency-Key": key}) as client:
        first = client.post("/api/v1/completions", json={"data": {"prompt": prompt, **QUICK, "cache": "off"}})
        assert first.status_code == 200, first.text
        again = client.post("/api/v1/completions", json={"data": {"prompt": prompt, **QUICK, "cache": "off"}})
        other = client.post("/api/v1/completions", json={"data": {"prompt": "Another", **QUICK}})
    assert again.json()["data"] == first.json()["data"]
    assert other.status_code == 409
    assert other.json()["error"]["code"] == "conflict"
    asked = {"prompt": prompt, **QUICK_FLAT, "cache": "off", "idempotency_key": key}
    assert (await tool(running, "research", "completions_create", asked))["data"] == first.json()["data"]
    refused = await tool(running, "research", "completions_create", {**asked, "prompt": "Another"})
    assert refused["error"] == other.json()["error"]


async def test_pages_follow_one_another_and_foreign_tokens_are_refused(running: Stack) -> None:
    first = await tool(running, "research", "products_search", {"query": "lamp", "limit": 2})
    token = first["pagination"]["nextToken"]
    second = await tool(running, "research", "products_search", {"query": "lamp", "limit": 2, "next_token": token})
    ranks = [item["rank"] for page in (first, second) for item in page["data"]["items"]]
    assert ranks == [1, 2, 3, 4]
    assert first["pagination"]["total"] == second["pagination"]["total"]
    tampered = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    wrong = [
        ("research", {"query": "lamp", "limit": 2, "next_token": tampered}),
        ("research", {"query": "tent", "limit": 2, "next_token": token}),
        ("sales", {"query": "lamp", "limit": 2, "next_token": token}),
    ]
    for user, arguments in wrong:
        refused = await tool(running, user, "products_search", arguments)
        assert refused["error"]["code"] == "invalid_argument", refused
        with rest(running, user) as client:
            query = {name: value for name, value in arguments.items() if name != "next_token"}
            answer = client.get("/api/v1/products", params={**query, "nextToken": arguments["next_token"]})
        assert answer.status_code == 422
        assert [each["field"] for each in answer.json()["error"]["details"]["fields"]] == ["nextToken"]
        assert [each["field"] for each in refused["error"]["details"]["fields"]] == ["next_token"]


async def test_a_foreign_group_context_is_refused_whether_or_not_the_group_exists(running: Stack) -> None:
    said: set[str] = set()
    for group in ("partner", "no-such-group"):
        with rest(running, "research", **{"X-Group-Context": group}) as client:
            answer = client.get("/api/v1/groups")
        assert answer.status_code == 403
        said.add(answer.json()["error"]["message"])
        over_header = await tool(running, "research", "groups_list", {}, **{"X-Group-Context": group})
        over_argument = await tool(running, "research", "groups_list", {"group_context": group})
        assert over_header["error"] == over_argument["error"] == answer.json()["error"]
    assert len(said) == 1


def test_an_administrator_acts_as_a_group_and_others_cannot(running: Stack) -> None:
    with rest(running, "admin", **{"X-Group-Override": "acme-sales"}) as client:
        groups = client.get("/api/v1/groups").json()
    assert groups["metadata"]["userGroups"] == ["acme", "acme-sales"]
    assert groups["data"]["userId"] == "admin"
    for group in ("acme", "partner", "no-such-group"):
        with rest(running, "sales", **{"X-Group-Override": group}) as client:
            assert client.get("/api/v1/groups").json()["error"]["code"] == "forbidden"


async def test_a_long_call_gives_signs_of_life() -> None:
    """The same function that the door runs, with a short pause, as the real one is ten seconds."""
    told: list[tuple[float, str | None]] = []

    class Session:
        async def report_progress(self, progress: float, total: float | None, message: str | None) -> None:
            told.append((progress, message))

    async def work() -> str:
        await asyncio.sleep(0.35)
        return "done"

    session: Any = Session()
    assert await mcp_door.with_progress(session, work(), every=0.1) == "done"
    assert [progress for progress, _ in told] == pytest.approx([0.1, 0.2, 0.3])


async def test_many_callers_over_mcp(running: Stack) -> None:
    """Thirty-two calls at once over one client: all are answered, each with its own ids."""
    async with http2(running, "research") as http, mcp(running, http) as client:
        results = await asyncio.gather(*(_listed(client) for _ in range(32)))
    assert len({body["metadata"]["requestId"] for body in results}) == 32
    assert all(body["success"] for body in results)


async def _listed(client: Client) -> dict[str, Any]:
    return (await client.call_tool("groups_list", {})).structured_content


def test_liveness_takes_no_key_and_health_does(running: Stack) -> None:
    with rest(running, "partner") as client:
        detailed = client.get("/api/v1/health/detailed").json()
        del client.headers["X-API-Key"]
        began = time.monotonic()
        assert client.get("/api/v1/health").json()["data"]["status"] == "ok"
        assert time.monotonic() - began < 1
        assert client.get("/api/v1/health/detailed").status_code == 401
    assert detailed["data"]["status"] == "ok"
    assert [group["id"] for group in detailed["data"]["groups"]] == ["partner"]
    latencies = {part["name"].partition(":")[0]: part["latency"] for part in detailed["data"]["components"]}
    assert [name for name, latency in latencies.items() if latency is None] == ["provider"]


async def test_health_reads_well_where_a_part_was_not_asked(running: Stack) -> None:
    async with http2(running, "partner") as http, mcp(running, http) as client:
        result = await client.call_tool("health_check", {})
    lines = result.content[0].model_dump()["text"].splitlines()
    latencies = {line.split("|")[3].strip() for line in lines if line.startswith("| provider:")}
    assert latencies == {"-"}


async def test_a_second_client_library_gets_on_with_the_door(running: Stack) -> None:
    transport = StreamableHttpTransport(f"{running.url}/mcp", headers={"X-API-Key": running.keys["partner"]})
    async with fastmcp.Client(transport) as client:
        assert len(await client.list_tools()) == 6
        result = await client.call_tool("products_search", {"query": "lamp", "limit": 1})
        assert result.structured_content is not None
        assert result.structured_content["metadata"]["userGroups"] == ["partner"]
        refused = await client.call_tool("products_search", {"limit": 0}, raise_on_error=False)
        assert refused.is_error
