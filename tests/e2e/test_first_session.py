"""What a new user does first: `cohort up`, then paste what it printed."""

import base64
import json
import re
import shlex
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest
from google.protobuf.json_format import MessageToDict
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from temporalio.client import Client as Temporal
from temporalio.client import WorkflowExecution

from storage.secrets import Secrets
from tests.support.stack import Stack
from workflows.converter import data_converter

TOOLS = {
    "completions_create",
    "products_search",
    "products_get",
    "groups_list",
    "groups_permissions",
    "health_check",
}
QUESTION = "What did the tests of the solid-state lantern battery show?"
CONFIDENTIAL = "project-halcyon-battery"
PATIENCE = 150
"""Seconds for one answer of the local model on a busy machine."""


def printed_servers(stack: Stack) -> list[dict[str, Any]]:
    """The two MCP configurations that `cohort up` printed: HTTP, then stdio."""
    blocks = re.findall(r'^  \{\n    "mcpServers".*?^  \}$', stack.output, re.DOTALL | re.MULTILINE)
    return [json.loads(block)["mcpServers"]["cohort"] for block in blocks]


@asynccontextmanager
async def over_http(stack: Stack, key: str | None = None) -> AsyncGenerator[Client]:
    """A client with the printed HTTP configuration, or with another key."""
    server = printed_servers(stack)[0]
    headers = {"Authorization": f"Bearer {key}"} if key else server["headers"]
    async with (
        httpx2.AsyncClient(headers=headers, timeout=PATIENCE) as http,
        Client(streamable_http_client(server["url"], http_client=http), read_timeout_seconds=PATIENCE) as client,
    ):
        yield client


async def complete(stack: Stack, person: str) -> dict[str, Any]:
    async with over_http(stack, stack.keys[person]) as client:
        result = await client.call_tool("completions_create", {"prompt": QUESTION, "max_tokens": 16})
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


def cited(answer: dict[str, Any]) -> set[str]:
    return {citation["id"] for citation in answer["data"]["citations"]}


async def test_the_printed_http_configuration_gives_the_tools(running: Stack) -> None:
    async with over_http(running) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS


async def test_the_printed_stdio_configuration_gives_the_tools(running: Stack) -> None:
    server = printed_servers(running)[1]
    started = StdioServerParameters(command=server["command"], args=server["args"], env=server["env"])
    async with Client(started, read_timeout_seconds=PATIENCE) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
        listed = await client.call_tool("groups_list", {})
        assert listed.structured_content is not None
        assert listed.structured_content["data"]["userId"] == "research"


async def test_each_group_is_answered_from_what_it_may_see(running: Stack) -> None:
    research = await complete(running, "research")
    assert CONFIDENTIAL in cited(research)
    assert research["metadata"]["dataAccessLevel"] == "confidential"
    for person in ("sales", "partner"):
        other = await complete(running, person)
        assert other["data"]["citations"], "it has sources of its own"
        assert "halcyon" not in json.dumps(other).lower()


def test_the_printed_request_is_answered(running: Stack) -> None:
    command = running.output[running.output.index("curl -s") : running.output.index("\n\nCtrl-C")]
    words = shlex.split(command.replace("\\\n", " "))
    done = subprocess.run([*words, "--max-time", str(PATIENCE)], capture_output=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["success"], answer
    assert CONFIDENTIAL in cited(answer)


def test_what_a_department_owns_is_in_nobody_elses_catalogue(running: Stack) -> None:
    catalogues = {person: everything(running, running.keys[person]) for person in ("research", "sales", "partner")}
    for person, products in catalogues.items():
        hidden = {"acme-research", "acme-sales"} - {f"acme-{person}"}
        shared = {owner for owner in (product["ownerGroup"] for product in products) if owner in hidden}
        assert not shared or person == "research", f"{person} sees products of {shared}"
    assert len(catalogues["research"]) > len(catalogues["partner"])


def everything(stack: Stack, key: str) -> list[dict[str, Any]]:
    """All visible products, page by page."""
    found: list[dict[str, Any]] = []
    token: str | None = None
    while True:
        query = {"limit": "100"} | ({"nextToken": token} if token else {})
        answer = httpx.get(f"{stack.url}/api/v1/products", params=query, headers={"X-API-Key": key}, timeout=60).json()
        found += answer["data"]["items"]
        token = answer["pagination"].get("nextToken")
        if not token:
            assert len(found) == answer["pagination"]["total"]
            return found


async def test_an_operator_finds_the_workflow_and_only_he_reads_it(running: Stack) -> None:
    answer = httpx.post(
        f"{running.url}/api/v1/completions",
        headers={"X-API-Key": running.keys["sales"]},
        json={"data": {"prompt": "Say yes, heliotrope.", "maxTokens": 4, "cache": "off"}},
        timeout=PATIENCE,
    ).json()
    request = answer["metadata"]["requestId"]
    payloads_key = Secrets((running.home / "secret.key").read_bytes()).key("payloads")
    temporal = await Temporal.connect(running.temporal_address, data_converter=data_converter(payloads_key))
    found = await executions(temporal, f"CohortCall = '{request}'")
    assert {execution.workflow_type for execution in found} == {"Calls", "Completion"}
    for execution in found:
        handle = temporal.get_workflow_handle(execution.id)
        summary = await (await handle.describe()).static_summary()
        assert summary, "the Temporal UI shows what it is"
        assert "completion" in summary.lower()
        assert "acme-sales" in summary
        recorded = b"".join(event.SerializeToString() for event in (await handle.fetch_history()).events)
        assert len(recorded) > 1_000
        assert b"heliotrope" not in recorded

    settings = httpx.get(f"{running.temporal_ui}/api/v1/settings", timeout=10).json()
    endpoint = settings["Codec"]["Endpoint"]
    (calls,) = [execution for execution in found if execution.workflow_type == "Calls"]
    history = await temporal.get_workflow_handle(calls.id).fetch_history()
    payloads = MessageToDict(history.events[0].workflow_execution_started_event_attributes.input)["payloads"]
    decoded = httpx.post(
        f"{endpoint}/decode",
        json={"payloads": payloads},
        headers={"Origin": running.temporal_ui, "X-Namespace": "default"},
        timeout=10,
    )
    assert decoded.headers["access-control-allow-origin"] == running.temporal_ui
    assert b"heliotrope" in base64.b64decode(decoded.json()["payloads"][0]["data"])


async def executions(temporal: Temporal, query: str) -> list[WorkflowExecution]:
    return [execution async for execution in temporal.list_workflows(query)]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_the_documentation_needs_no_outside_script(running: Stack, path: str) -> None:
    page = httpx.get(f"{running.url}{path}", timeout=10)
    assert page.is_success
    assert not re.findall(r"""(?:src|href)=["']https?://(?!127\.0\.0\.1)""", page.text)
