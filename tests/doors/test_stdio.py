"""`cohort mcp`: what an agent on stdio meets."""

import sys
from typing import cast

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_types import RequestParamsMeta

from tests.doors.live import QUICK_FLAT
from tests.support.environment import clean_environment
from tests.support.stack import Stack


def bridge(url: str, key: str) -> StdioServerParameters:
    clean = clean_environment()
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcp_server.cli", "mcp"],
        env={**clean, "COHORT_URL": url, "COHORT_API_KEY": key},
    )


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_tools_are_listed_and_called_through_the_front_door(running: Stack, mode: str) -> None:
    async with Client(bridge(running.url, running.keys["research"]), mode=mode) as client:
        assert (await client.list_tools()).tools[0].name == "completions_create"
        listed = await client.call_tool("groups_list", {}, meta=cast(RequestParamsMeta, {"sessionId": "s1"}))
        assert listed.structured_content["data"]["userId"] == "research"
        answer = await client.call_tool("completions_create", {"prompt": "Say hello.", **QUICK_FLAT})
        assert answer.structured_content["data"]["text"] in answer.content[0].model_dump()["text"]
        refused = await client.call_tool("products_search", {"limit": 0})
        assert refused.is_error
        with pytest.raises(MCPError, match="no such tool") as unknown:
            await client.call_tool("nope", {})
        assert unknown.value.code == -32602


async def test_a_wrong_key_and_an_absent_door_are_said(running: Stack) -> None:
    for url, key, says in (
        (running.url, "cohort_wrong", "not a whole API key"),
        ("http://127.0.0.1:1", running.keys["research"], "does not answer"),
    ):
        async with Client(bridge(url, key)) as client:
            with pytest.raises(MCPError, match=says):
                await client.call_tool("groups_list", {})
