"""Cached completions over REST and over MCP, against one bare Temporal workflow a call on the same server."""

import json
from typing import Any

from bench.floor import floor_worker
from bench.floor import measure as measure_floor
from bench.load import Call, Connection, Figures, closed_loop
from bench.stack import Running

CALLERS = (1, 16, 64)
QUESTION = "How do I care for a down sleeping bag?"


async def measure(stack: Running, seconds: float) -> dict[str, Any]:
    """Figures by door and number of callers, and the ratios that the product promises."""
    await _fill_cache(stack)
    figures: dict[str, dict[int, Figures]] = {"floor": {}, "rest": {}, "mcp": {}}
    async with floor_worker(stack.temporal):
        for callers in CALLERS:
            figures["floor"][callers] = await measure_floor(stack.temporal, callers=callers, seconds=seconds)
            figures["rest"][callers] = await closed_loop(lambda: rest_caller(stack), callers=callers, seconds=seconds)
            figures["mcp"][callers] = await closed_loop(lambda: mcp_caller(stack), callers=callers, seconds=seconds)
    return {
        "figures": {door: {str(n): f.json() for n, f in by.items()} for door, by in figures.items()},
        "ratios": {
            door: {
                "p50 at 1 caller, times the floor's": figures[door][1].p50 / figures["floor"][1].p50,
                "calls/s at 16 callers, times the floor's": figures[door][16].rate / figures["floor"][16].rate,
                "calls/s at 64 callers, times the floor's": figures[door][64].rate / figures["floor"][64].rate,
            }
            for door in ("rest", "mcp")
        },
    }


async def rest_caller(stack: Running) -> Call:
    """A caller that asks the same question over `POST /api/v1/completions` and insists on a cached answer."""
    connection = await Connection.open(stack.url)
    headers = {"X-API-Key": stack.keys["sales"], "Content-Type": "application/json"}
    body = json.dumps({"data": {"prompt": QUESTION, "maxTokens": 48}}).encode()

    async def call() -> None:
        status, answer = await connection.post("/api/v1/completions", headers, body)
        if status != 200 or b'"cached":true' not in answer:
            raise SystemExit(f"A cached completion was expected, the answer was {status}: {answer[:500]!r}")

    return call


async def mcp_caller(stack: Running) -> Call:
    """A caller that calls the tool `completions_create` over streamable HTTP, without a session."""
    connection = await Connection.open(stack.url)
    headers = {
        "Authorization": f"Bearer {stack.keys['sales']}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "completions_create",
    }
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "cohort-bench", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": "completions_create", "arguments": {"prompt": QUESTION, "max_tokens": 48}, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()

    async def call() -> None:
        status, answer = await connection.post("/mcp", headers, body)
        if status != 200 or b'"cached":true' not in answer.replace(b" ", b""):
            raise SystemExit(f"A cached completion was expected over MCP, the answer was {status}: {answer[:500]!r}")

    return call


async def _fill_cache(stack: Running) -> None:
    connection = await Connection.open(stack.url)
    headers = {"X-API-Key": stack.keys["sales"], "Content-Type": "application/json"}
    body = json.dumps({"data": {"prompt": QUESTION, "maxTokens": 48, "cache": "refresh"}}).encode()
    status, answer = await connection.post("/api/v1/completions", headers, body)
    if status != 200:
        raise SystemExit(f"The first completion failed with {status}: {answer[:500]!r}")
