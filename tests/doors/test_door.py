"""What of a request reaches the workflows, and how their outcomes come back, over a real Temporal server."""

import contextlib
import dataclasses
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import pytest
from mcp_types import RequestParamsMeta
from openapi_pydantic.v3.v3_1 import OpenAPI
from pydantic import Field
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from domain.base import Contract
from domain.calls import BatchOutcome, Call, CallBatch, Facts, Outcome, Usage
from domain.envelope import Pagination
from domain.errors import CohortError, ErrorCode, invalid
from domain.policy import Level
from mcp_server.operations import OPERATIONS, Operation, table
from storage.answers import Answers
from storage.identity import Secrets
from tests.doors.conftest import SECRET, House, open_house, settings_of
from workflows.converter import data_converter
from workflows.ports import TASK_QUEUE

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@workflow.defn(name="Calls", sandboxed=False)
class Mirror:
    """Answers each call with itself; its prompt or query says how."""

    @workflow.run
    async def run(self, batch: CallBatch) -> BatchOutcome:
        return BatchOutcome(outcomes=tuple(map(_mirrored, batch.calls)))


def _mirrored(call: Call) -> Outcome:
    facts = Facts(user_groups=("research",), effective_permissions=("a:b",), data_access_level=Level.CONFIDENTIAL)
    match call.input.get("query") or call.input.get("prompt"):
        case "stored":
            return Outcome(call_id="kept", stored=True, facts=facts)
        case "gone":
            return Outcome(call_id="never-kept", stored=True, facts=facts)
        case "busy":
            error = CohortError(ErrorCode.RATE_LIMITED, "Too many calls.", retry_after=2.6).body()
            return Outcome(call_id=call.id, error=error, facts=facts)
        case "paged":
            said = "is not a token of this search: leave nextToken out to begin again"
            error = invalid(("nextToken", said), ("filters.minPrice", "must not be above maxPrice")).body()
            return Outcome(call_id=call.id, error=error, facts=facts)
        case "broken":
            return Outcome(call_id=call.id, error=CohortError(ErrorCode.INTERNAL, "Something failed.").body())
        case _:
            return Outcome(
                call_id=call.id,
                data=call.model_dump(mode="json"),
                facts=facts,
                usage=Usage(provider="p", model="m", prompt_tokens=1, completion_tokens=2, cost=0.5, cached=True),
                pagination=Pagination(limit=1, total=2, has_next=False),
            )


@contextlib.asynccontextmanager
async def a_house(temporal: str, home: Path, operations: dict[str, Operation] = OPERATIONS) -> AsyncGenerator[House]:
    """A front door of these operations with `Mirror` behind it."""
    converter = data_converter(Secrets(SECRET).key("payloads"))
    client = await Client.connect(temporal, data_converter=converter)
    async with (
        open_house(settings_of(home, temporal), operations) as house,
        Worker(client, task_queue=TASK_QUEUE, workflows=[Mirror], workflow_runner=UnsandboxedWorkflowRunner()),
    ):
        yield house


@pytest.fixture
async def mirrored(temporal: str, tmp_path: Path) -> AsyncGenerator[House]:
    async with a_house(temporal, tmp_path) as house:
        yield house


async def test_a_rest_call_reaches_the_workflow_as_it_was_meant(mirrored: House) -> None:
    headers = {
        "Idempotency-Key": "once",
        "X-User-Agent": "shop/1",
        "X-Correlation-ID": "c1",
        "X-Group-Override": "acme",
    }
    metadata = {"userId": "u", "sessionId": "s", "clientVersion": "2", "priority": "high", "groupOverride": "acme"}
    async with mirrored.rest("root", **headers, traceparent=TRACE) as client:
        body = {"data": {"prompt": "hi", "maxTokens": 5, "retrieval": {"topK": 2}}, "metadata": metadata}
        answer = (await client.post("/api/v1/completions", json=body)).json()
    call = answer["data"]
    assert call["operation"] == "completions_create"
    assert call["permission"] == "completions:create"
    assert call["caller"]["user_id"] == "root"
    assert call["caller"]["override"] == "acme"
    assert call["idempotency_key"] == "once"
    assert call["input"]["max_tokens"] == 5
    assert call["input"]["retrieval"]["top_k"] == 2
    labels = call["labels"]
    assert labels["correlation_id"] == "c1"
    assert labels["request_id"] == call["id"] == answer["metadata"]["requestId"]
    said = (labels["user_label"], labels["session_label"], labels["client_version"], labels["priority"])
    assert said == ("u", "s", "2", "high")
    assert labels["user_agent"] == "shop/1"
    assert labels["traceparent"].split("-")[1] == TRACE.split("-")[1]
    assert mirrored.keys["root"] not in str(call)
    assert answer["metadata"]["cached"] is True
    assert answer["metadata"]["tokensUsed"] == 3
    assert answer["metadata"]["cost"] == 0.5
    assert answer["metadata"]["dataAccessLevel"] == "confidential"
    assert answer["pagination"] == {"limit": 1, "total": 2, "totalIsLowerBound": False, "hasNext": False}


async def test_a_tool_call_reaches_the_workflow_as_it_was_meant(mirrored: House) -> None:
    meta = {
        "userId": "u",
        "cohort/sessionId": "s",
        "priority": "low",
        "cohort/idempotencyKey": "once",
        "cohort/groupContext": "research",
        "someone/else": 1,
    }
    async with mirrored.http2("rosa", traceparent=TRACE) as http, mirrored.mcp(http) as client:
        arguments = {"prompt": "hi", "max_tokens": 5, "retrieval_top_k": 2, "products_enabled": False}
        result = await client.call_tool("completions_create", arguments, meta=cast(RequestParamsMeta, meta))
        plain = await client.call_tool("products_search", {"query": "x", "group_context": "research"})
    call = result.structured_content["data"]
    assert call["caller"]["context"] == "research"
    assert call["idempotency_key"] == "once"
    assert call["input"]["max_tokens"] == 5
    assert call["input"]["retrieval"] == {"enabled": True, "top_k": 2}
    assert call["input"]["products"]["enabled"] is False
    assert call["labels"]["session_label"] == "s"
    assert call["labels"]["priority"] == "low"
    assert call["labels"]["traceparent"].split("-")[1] == TRACE.split("-")[1]
    assert plain.structured_content["data"]["caller"]["context"] == "research"
    assert plain.structured_content["data"]["idempotency_key"] is None


async def test_a_large_answer_is_fetched_from_where_it_lies(mirrored: House) -> None:
    large: dict[str, Any] = {"text": "x" * 2_000_000}
    await Answers(mirrored.database, Secrets(SECRET).key("answers")).put("kept", large)
    async with mirrored.rest() as client:
        answer = await client.get("/api/v1/products?query=stored")
        gone = await client.get("/api/v1/products?query=gone")
    assert answer.json()["data"] == large
    assert answer.json()["metadata"]["userGroups"] == ["research"]
    assert gone.status_code == 404


async def test_errors_keep_their_facts_and_say_when_to_come_back(mirrored: House) -> None:
    async with mirrored.rest() as client:
        busy = await client.get("/api/v1/products?query=busy")
        broken = await client.get("/api/v1/products?query=broken")
    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "3")
    assert busy.json()["error"]["details"]["retryAfter"] == 2.6
    assert busy.json()["metadata"]["userGroups"] == ["research"]
    assert broken.status_code == 500
    async with mirrored.http2() as http, mirrored.mcp(http) as client:
        over_mcp = await client.call_tool("products_search", {"query": "busy"})
        assert over_mcp.is_error
        assert over_mcp.structured_content["error"] == busy.json()["error"]
        with pytest.raises(Exception, match="Something failed") as fault:
            await client.call_tool("products_search", {"query": "broken"})
    assert getattr(fault.value, "code", None) == -32603


async def test_an_error_from_behind_the_door_names_fields_as_each_door_does(mirrored: House) -> None:
    async with mirrored.rest() as client:
        over_rest = (await client.get("/api/v1/products?query=paged")).json()["error"]
    async with mirrored.http2() as http, mirrored.mcp(http) as client:
        result = await client.call_tool("products_search", {"query": "paged"})
    over_mcp = result.structured_content["error"]
    assert [each["field"] for each in over_rest["details"]["fields"]] == ["nextToken", "filters.minPrice"]
    assert [each["field"] for each in over_mcp["details"]["fields"]] == ["next_token", "min_price"]
    assert "next_token: is not a token of this search: leave next_token out" in over_mcp["message"]
    assert "min_price: must not be above max_price" in over_mcp["message"]
    text = result.content[0].model_dump()["text"]
    assert not any(name in str(result.structured_content) + text for name in ("nextToken", "minPrice", "maxPrice"))


class PlaceInput(Contract):
    """A place of the map."""

    place_id: str = Field(pattern="^[a-z]+$")
    floor: int = 0
    name: str | None = None


PLACES = table(
    *OPERATIONS.values(),
    *(
        dataclasses.replace(
            OPERATIONS["jobs_get"],
            name=f"places_{name}",
            input=PlaceInput,
            method=method,
            path="/api/v1/places/{placeId}/floors/{floor}",
            effect=True,
            command=f"places {name} PLACE_ID",
            example={"placeId": "here", "floor": 3, "name": "Hall"},
        )
        for name, method in (("put", "PUT"), ("change", "PATCH"), ("delete", "DELETE"))
    ),
)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_every_method_of_the_table_reaches_the_workflow(temporal: str, tmp_path: Path, method: str) -> None:
    """Parts of the address, typed, and the rest of the input from the body, or without one from the query."""
    data: dict[str, Any] = {"name": "Hall"}
    sent: dict[str, Any] = {"params": data} if method == "DELETE" else {"json": {"data": data}}
    async with (
        a_house(temporal, tmp_path, PLACES) as house,
        house.rest("rosa", **{"Idempotency-Key": "once"}) as client,
    ):
        answer = await client.request(method, "/api/v1/places/here/floors/3", **sent)
        wrong = await client.request(method, "/api/v1/places/HERE/floors/up", **sent)
        doubled = await client.request(method, "/api/v1/places/here/floors/3", json={"data": {"floor": 4}})
        post = await client.post("/api/v1/places/here/floors/3", json={"data": {}})
        made = (await client.get("/openapi.json")).json()
    call = answer.json()["data"]
    assert call["input"] == {"place_id": "here", "floor": 3, "name": "Hall"}
    assert call["idempotency_key"] == "once"
    assert [each["field"] for each in wrong.json()["error"]["details"]["fields"]] == ["placeId", "floor"]
    if method != "DELETE":
        assert "part of the address" in doubled.json()["error"]["message"]
    assert (post.status_code, post.headers["Allow"]) == (405, "DELETE, OPTIONS, PATCH, PUT")
    said = made["paths"]["/api/v1/places/{placeId}/floors/{floor}"][method.lower()]
    own = {each["name"]: each["in"] for each in said["parameters"] if "name" in each}
    assert own == {"placeId": "path", "floor": "path"} | ({"name": "query"} if method == "DELETE" else {})
    if method != "DELETE":
        body = said["requestBody"]["content"]["application/json"]
        assert body["example"] == {"data": {"name": "Hall"}}
        name = body["schema"]["properties"]["data"]["$ref"].rsplit("/", 1)[-1]
        assert set(made["components"]["schemas"][name]["properties"]) == {"name"}
    OpenAPI.model_validate(made)


async def test_a_fault_of_ours_says_only_the_correlation_id(mirrored: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fall(*_: object) -> None:
        raise ZeroDivisionError("a secret of the house")

    monkeypatch.setattr("mcp_server.rest.from_query", fall)
    async with mirrored.rest("rosa", **{"X-Correlation-ID": "follow-me"}) as client:
        answer = await client.get("/api/v1/products")
    assert answer.status_code == 500
    assert answer.headers["X-Correlation-ID"] == answer.json()["metadata"]["correlationId"] == "follow-me"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.json()["error"]["code"] == "internal"
    assert "secret" not in answer.text
