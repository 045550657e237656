"""Callers of the whole running stack."""

from typing import Any

import httpx
import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.stack import Stack

QUICK: dict[str, Any] = {"maxTokens": 8, "retrieval": {"enabled": False}, "products": {"enabled": False}}
QUICK_FLAT: dict[str, Any] = {"max_tokens": 8, "retrieval_enabled": False, "products_enabled": False}
"""A completion that the small local model gives soon."""


def rest(running: Stack, user: str, **headers: str) -> httpx.Client:
    """A REST client with the key of a demo user."""
    return httpx.Client(base_url=running.url, headers={"X-API-Key": running.keys[user], **headers}, timeout=150)


def http2(running: Stack, user: str, **headers: str) -> httpx2.AsyncClient:
    """The HTTP client under an MCP client."""
    return httpx2.AsyncClient(headers={"Authorization": f"Bearer {running.keys[user]}", **headers}, timeout=150)


def mcp(running: Stack, http: httpx2.AsyncClient, mode: str = "auto") -> Client:
    """An MCP client over it."""
    return Client(streamable_http_client(f"{running.url}/mcp", http_client=http), mode=mode)


async def tool(running: Stack, user: str, name: str, arguments: dict[str, Any], **headers: str) -> dict[str, Any]:
    """The envelope that a tool answers."""
    async with http2(running, user, **headers) as http, mcp(running, http) as client:
        return (await client.call_tool(name, arguments)).structured_content
