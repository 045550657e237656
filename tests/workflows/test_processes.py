"""A worker and a front door as processes of their own: readiness, traces from the door to the provider, stopping."""

import asyncio
import base64
import json
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest_asyncio

from activities.worker import READY
from stack import processes
from storage import groups, migrate
from storage.secrets import Secrets
from storage.sql import Database
from tests.support.collector import Collector, SeenSpan, collector
from tests.support.environment import clean_environment
from tests.support.provider import KEY, Provider
from tests.support.servers import free_port
from tests.support.waiting import eventually
from tests.support.world import SECRET

METRICS = {
    "http.server.request.duration",
    "cohort.calls",
    "cohort.cache.lookups",
    "cohort.cost",
    "gen_ai.client.token.usage",
    "gen_ai.client.operation.duration",
}


@dataclass(frozen=True)
class Pair:
    """A worker and a front door that send what they measure to a collector."""

    url: str
    keys: dict[str, str]
    seen: Collector
    worker: subprocess.Popen[bytes]
    log: Path


@pytest_asyncio.fixture
async def pair(tmp_path: Path, temporal: str, redis_url: str, provider: Provider) -> AsyncGenerator[Pair]:
    port = free_port()
    with collector() as seen:
        environment = clean_environment() | {
            "COHORT_HOME": str(tmp_path / "home"),
            "COHORT_PORT": str(port),
            "COHORT_TEMPORAL_ADDRESS": temporal,
            "COHORT_REDIS_URL": redis_url,
            "COHORT_SECRET_KEY": base64.b64encode(SECRET).decode(),
            "COHORT_OTLP_ENDPOINT": seen.url,
            "COHORT_PROVIDERS": json.dumps(
                [{"name": "good", "model": "openai/good", "api_base": provider.url, "api_key_env": "TESTER_KEY"}]
            ),
            "TESTER_KEY": KEY,
            "PYTHONUNBUFFERED": "1",
        }
        (tmp_path / "home").mkdir()
        keys = await _people(f"sqlite+aiosqlite:///{tmp_path / 'home' / 'cohort.db'}")
        log = tmp_path / "worker.log"
        worker = processes.spawn([sys.executable, "-m", "activities.worker"], log=log, environment=environment)
        door_log = tmp_path / "door.log"
        door = processes.spawn([sys.executable, "-m", "mcp_server.app"], log=door_log, environment=environment)
        try:
            await eventually(lambda: _says(log, READY), seconds=60, what=f"the worker: {log}")
            await eventually(lambda: _says(door_log, "cohort-door ready"), seconds=30, what=f"the door: {door_log}")
            yield Pair(f"http://127.0.0.1:{port}", keys, seen, worker, log)
        finally:
            processes.end(door, grace=10)
            processes.end(worker, grace=10)


async def test_one_call_is_one_tree_from_the_door_to_the_provider(pair: Pair) -> None:
    trace = await _ask(pair, "ada", "a secret question")

    async def complete() -> bool:
        return {"chat good", "RunActivity:settle_completion", "POST /api/v1/completions"} <= pair.seen.names(trace)

    await eventually(complete, seconds=20, what="the spans of the call")
    chat = _one(pair.seen, trace, "chat good")
    assert pair.seen.ancestors(chat) == [
        "RunActivity:complete",
        "StartActivity:complete",
        "StartChildWorkflow:Completion",
        "StartWorkflow:Calls",
        "calls",
        "POST /api/v1/completions",
    ]
    for workflow, start in (("Calls", "StartWorkflow:Calls"), ("Completion", "StartChildWorkflow:Completion")):
        starts = {pair.seen.ancestors(span)[0] for span in _named(pair.seen, trace, f"RunWorkflow:{workflow}")}
        assert starts == {start}
    assert chat.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "good",
        "gen_ai.request.max_tokens": 256,
        "gen_ai.request.temperature": 0.2,
        "gen_ai.response.finish_reasons": chat.attributes["gen_ai.response.finish_reasons"],
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 7,
    }
    assert {span.service for span in pair.seen.of_trace(trace)} == {"cohort-door", "cohort-worker"}
    for step in ("admit", "look_up", "retrieve_documents", "find_products", "choose_routes", "settle_completion"):
        assert f"RunActivity:{step}" in pair.seen.names(trace)


async def test_calls_that_share_an_execution_keep_traces_of_their_own(pair: Pair) -> None:
    traces = await asyncio.gather(*(_ask(pair, "ada", f"question {number}") for number in range(24)))
    assert len(set(traces)) == 24

    async def complete() -> bool:
        return all({"chat good", "POST /api/v1/completions"} <= pair.seen.names(trace) for trace in traces)

    await eventually(complete, seconds=30, what="the spans of all calls")
    for trace in traces:
        assert len(_named(pair.seen, trace, "chat good")) == 1
        assert "RunWorkflow:Completion" in pair.seen.names(trace)
    guests = [trace for trace in traces if "RunWorkflow:Calls" not in pair.seen.names(trace)]
    assert guests, "no two calls shared an execution"
    hosts = set(traces) - set(guests)
    for trace in guests:
        assert {"admit", "look_up"} <= pair.seen.names(trace)
        assert {linked for span in _named(pair.seen, trace, "look_up") for linked in span.links} <= hosts
        assert "POST /api/v1/completions" in pair.seen.ancestors(_one(pair.seen, trace, "chat good"))
    shared = [span for span in pair.seen.spans if span.name == "calls" and span.links]
    assert {linked for span in shared for linked in span.links} == set(guests)


async def test_nothing_that_callers_said_leaves_with_the_spans(pair: Pair) -> None:
    trace = await _ask(pair, "ada", "a secret question")
    await _ask(pair, "ada", "another secret question", model="a-secret-model")

    async def complete() -> bool:
        return "chat good" in pair.seen.names(trace) and pair.seen.metrics >= METRICS

    await eventually(complete, seconds=30, what="spans and metrics")
    assert b"secret question" not in pair.seen.raw
    assert b"secret-model" not in pair.seen.raw
    assert KEY.encode() not in pair.seen.raw
    assert pair.keys["ada"].encode() not in pair.seen.raw


async def test_a_worker_stops_when_it_is_told_to(pair: Pair) -> None:
    pair.worker.send_signal(signal.SIGTERM)

    async def gone() -> bool:
        return pair.worker.poll() is not None

    await eventually(gone, seconds=15, what="the worker ends")
    assert pair.worker.poll() == 0
    assert "Traceback" not in pair.log.read_text()


async def _ask(pair: Pair, user: str, prompt: str, **more: object) -> str:
    """Ask over REST; gives the trace id."""
    trace = secrets.token_hex(16)
    headers = {"X-API-Key": pair.keys[user], "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    async with httpx.AsyncClient(base_url=pair.url, timeout=60) as http:
        answer = await http.post("/api/v1/completions", headers=headers, json={"data": {"prompt": prompt, **more}})
    assert answer.status_code == (422 if "model" in more else 200), answer.text
    return trace


def _one(seen: Collector, trace: str, name: str) -> SeenSpan:
    [span] = _named(seen, trace, name)
    return span


def _named(seen: Collector, trace: str, name: str) -> list[SeenSpan]:
    """The spans of a step: more than one where a workflow task was tried again."""
    return [span for span in seen.of_trace(trace) if span.name == name]


async def _says(log: Path, line: str) -> bool:
    return log.exists() and line in log.read_text()


async def _people(url: str) -> dict[str, str]:
    await migrate.upgrade(url)
    database = Database.open(url)
    async with database.write() as tx:
        await groups.create_group(tx, "acme", name="Acme", permissions=["completions:create"])
        await groups.create_user(tx, "ada", primary_group="acme")
        key = await groups.create_key(tx, "ada", pepper=Secrets(SECRET).key("api-keys"))
    await database.close()
    return {"ada": key.token}
