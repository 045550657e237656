"""Natural batching against a real Temporal server."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import pytest
from temporalio.client import Client

import stack.temporal
from domain.calls import BatchOutcome, Call, CallBatch, Outcome
from domain.errors import CohortError, ErrorCode
from domain.ids import new_id
from mcp_server.dispatch import BATCH_CALLS, IN_FLIGHT, Dispatcher
from mcp_server.engine import TemporalEngine
from mcp_server.unanswered import Unanswered
from stack import processes
from tests.doors.calls import a_call, door_client, echo_worker
from tests.support.servers import free_port


def dispatcher_of(address: str, queue: str) -> Dispatcher:
    return Dispatcher(TemporalEngine(partial(door_client, address), task_queue=queue))


@contextlib.asynccontextmanager
async def own_temporal(folder: Path, port: int) -> AsyncGenerator[str]:
    """A server of this test's own, which it may stop and start again on the same port and file."""
    address = f"127.0.0.1:{port}"
    command = stack.temporal.command(port=port, ui_port=None, database=folder / "temporal.db")
    process = processes.spawn(command, log=folder / "temporal.log")
    try:
        async with asyncio.timeout(30):
            while not await stack.temporal.is_ready(address):
                await asyncio.sleep(0.05)
        yield address
    finally:
        await asyncio.to_thread(processes.end, process, grace=10)


async def executions(client: Client, group: str) -> list[str]:
    """The ids of the executions that served a group; visibility lags a little behind."""
    found: list[str] = []
    deadline = time.monotonic() + 10
    while not found and time.monotonic() < deadline:
        found = [each.id async for each in client.list_workflows(f"CohortGroup = '{group}'")]
    return found


async def test_a_lone_call_goes_at_once_and_is_found_by_its_id(temporal: str) -> None:
    queue, group = new_id(), f"g-{new_id()}"
    async with echo_worker(temporal, queue) as client:
        call = a_call(say="hello")
        outcome = await dispatcher_of(temporal, queue).call(call, "products", group)
        assert outcome.data == {"text": "hello", "batch": 1}
        handle = client.get_workflow_handle(f"calls-{group}-{call.id}")
        described = await handle.describe()
        assert await described.static_summary() == f"1 call of {group}: products"
        assert await described.memo_value("calls") == {call.id: "products_get"}
        query = f"CohortCall = '{call.id}'"
        deadline = time.monotonic() + 10
        while not (found := [each.id async for each in client.list_workflows(query)]) and time.monotonic() < deadline:
            pass
        assert found == [handle.id]


async def test_calls_that_come_together_share_an_execution_and_keep_their_own_answers(temporal: str) -> None:
    queue, group = new_id(), f"g-{new_id()}"
    async with echo_worker(temporal, queue) as client:
        dispatcher = dispatcher_of(temporal, queue)
        calls = [a_call(say=str(number)) for number in range(200)]
        outcomes = await asyncio.gather(*(dispatcher.call(call, "products", group) for call in calls))
        assert [outcome.data and outcome.data["text"] for outcome in outcomes] == [str(each) for each in range(200)]
        sizes = [outcome.data["batch"] for outcome in outcomes if outcome.data]
        assert max(sizes) <= BATCH_CALLS
        assert len(await executions(client, group)) == 4  # 64 + 64 + 64 + 8


async def test_groups_and_families_do_not_share_executions(temporal: str) -> None:
    queue, group = new_id(), f"g-{new_id()}"
    async with echo_worker(temporal, queue):
        dispatcher = dispatcher_of(temporal, queue)
        lanes = [(family, f"{group}-{side}") for family in ("products", "groups") for side in "ab"]
        outcomes = await asyncio.gather(*(dispatcher.call(a_call(), *lane) for lane in lanes))
        assert [outcome.data and outcome.data["batch"] for outcome in outcomes] == [1, 1, 1, 1]


async def test_a_lanes_executions_in_flight_are_bounded_and_the_queue_fills_the_next(temporal: str) -> None:
    queue, group = new_id(), f"g-{new_id()}"
    async with echo_worker(temporal, queue):
        dispatcher = dispatcher_of(temporal, queue)
        first: list[asyncio.Task[Outcome]] = []
        for _ in range(IN_FLIGHT):
            first.append(asyncio.create_task(dispatcher.call(a_call(sleep=1), "products", group)))
            await asyncio.sleep(0.01)  # each goes alone, as the one before has gone already
        queued = [asyncio.create_task(dispatcher.call(a_call(), "products", group)) for _ in range(10)]
        outcomes = await asyncio.gather(*first, *queued)
        assert [outcome.data and outcome.data["batch"] for outcome in outcomes] == [1] * IN_FLIGHT + [10] * 10


@pytest.mark.parametrize("pad", ["x" * 240_000, "日" * 80_000])
async def test_a_batch_is_bounded_in_bytes(temporal: str, pad: str) -> None:
    queue, group = new_id(), f"g-{new_id()}"
    async with echo_worker(temporal, queue):
        dispatcher = dispatcher_of(temporal, queue)
        calls = [a_call(pad=pad) for _ in range(10)]
        outcomes = await asyncio.gather(*(dispatcher.call(call, "products", group) for call in calls))
        assert [outcome.data and outcome.data["batch"] for outcome in outcomes] == [4] * 8 + [2] * 2


async def test_one_bad_call_fails_alone(temporal: str) -> None:
    queue = new_id()
    async with echo_worker(temporal, queue):
        dispatcher = dispatcher_of(temporal, queue)
        calls = [a_call(say="a"), a_call(fail=True), a_call(say="c")]
        good, bad, other = await asyncio.gather(*(dispatcher.call(call, "products", "acme") for call in calls))
        assert (good.data, other.data) == ({"text": "a", "batch": 3}, {"text": "c", "batch": 3})
        assert bad.error is not None
        assert bad.error.code is ErrorCode.INVALID_ARGUMENT


async def test_a_deferred_call_is_followed_to_its_own_workflow(temporal: str) -> None:
    queue = new_id()
    async with echo_worker(temporal, queue) as client:
        call = a_call(defer=f"later-{queue}")
        await client.start_workflow("Later", call.id, id=f"later-{queue}", task_queue=queue)
        outcome = await dispatcher_of(temporal, queue).call(call, "products", "acme")
        assert outcome.data == {"late": True}


async def test_a_workflow_that_breaks_is_internal_and_tells_nothing(temporal: str) -> None:
    queue = new_id()
    async with echo_worker(temporal, queue):
        with pytest.raises(CohortError) as refused:
            await dispatcher_of(temporal, queue).call(a_call(crash=True), "products", "acme")
        assert refused.value.code is ErrorCode.INTERNAL
        assert "secret" not in refused.value.message


async def test_a_call_does_not_wait_beyond_its_deadline(temporal: str) -> None:
    began = time.monotonic()
    with pytest.raises(CohortError) as late:  # no worker polls this queue
        await dispatcher_of(temporal, new_id()).call(a_call(seconds=0.5), "products", "acme")
    assert late.value.code is ErrorCode.DEADLINE_EXCEEDED
    assert late.value.retryable
    assert time.monotonic() - began < 2


class Stuck:
    """An engine that never answers."""

    async def run(self, batch: CallBatch, seconds: float) -> BatchOutcome:
        await asyncio.Event().wait()
        raise AssertionError

    async def follow(self, workflow_id: str, seconds: float) -> Outcome:
        raise AssertionError


@contextlib.asynccontextmanager
async def full_of(dispatcher: Dispatcher, *waiting: Call) -> AsyncGenerator[list[asyncio.Task[Outcome]]]:
    """A lane whose executions are all in flight, with these calls behind them."""
    tasks: list[asyncio.Task[Outcome]] = []
    for call in [*(a_call() for _ in range(IN_FLIGHT)), *waiting]:
        tasks.append(asyncio.create_task(dispatcher.call(call, "products", "acme")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await dispatcher.close(0)


async def refused(dispatcher: Dispatcher, call: Call) -> CohortError:
    with pytest.raises(CohortError) as full:
        await dispatcher.call(call, "products", "acme")
    assert full.value.code is ErrorCode.RATE_LIMITED
    assert full.value.details["retryAfter"] >= 1
    return full.value


async def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    dispatcher = Dispatcher(Stuck(), queue_calls=10)
    async with full_of(dispatcher, *(a_call() for _ in range(10))) as waiting:
        assert "10 calls of your group are waiting" in (await refused(dispatcher, a_call())).message
        # Another group's lane is not affected, and a caller who goes away leaves his place.
        other = asyncio.create_task(dispatcher.call(a_call(), "products", "partner"))
        waiting[-1].cancel()
        await asyncio.sleep(0)
        assert not other.done()
        waiting.append(other)


async def test_a_queue_is_bounded_in_bytes_too() -> None:
    dispatcher = Dispatcher(Stuck())
    large = [a_call(pad="x" * 250_000) for _ in range(63)]
    async with full_of(dispatcher, *large) as waiting:
        full = await refused(dispatcher, a_call(pad="x" * 250_000))
        assert (
            full.message == "15.8 MB of calls of your group are waiting already. Nothing was started; try again later."
        )
        small = asyncio.create_task(dispatcher.call(a_call(), "products", "acme"))
        other = asyncio.create_task(dispatcher.call(large[0], "products", "partner"))
        waiting += [small, other]
        await asyncio.sleep(0)
        assert not small.done()
        assert not other.done()


async def test_what_has_gone_to_an_execution_makes_room(temporal: str) -> None:
    queue = new_id()
    async with echo_worker(temporal, queue):
        engine = TemporalEngine(partial(door_client, temporal), task_queue=queue)
        dispatcher = Dispatcher(engine, queue_bytes=500_000)
        for _ in range(5):
            calls = [a_call(pad="x" * 240_000) for _ in range(2)]
            outcomes = await asyncio.gather(*(dispatcher.call(call, "products", "acme") for call in calls))
            assert all(outcome.error is None for outcome in outcomes)


async def test_an_absent_temporal_is_said_within_three_seconds_and_nothing_was_started() -> None:
    dispatcher = dispatcher_of(f"127.0.0.1:{free_port()}", "nowhere")
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(CohortError) as away:
            await dispatcher.call(a_call(), "products", "acme")
        assert time.monotonic() - began < 3
        assert away.value.code is ErrorCode.PROVIDER_UNAVAILABLE
        assert away.value.retryable
        assert "Nothing was started" in away.value.message


async def test_a_temporal_that_does_not_answer_is_said_within_three_seconds() -> None:
    with socket.socket() as silent_server:  # takes connections into its backlog and never says a word
        silent_server.bind(("127.0.0.1", 0))
        silent_server.listen()
        port = silent_server.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(CohortError) as silent:
            await dispatcher_of(f"127.0.0.1:{port}", "nowhere").call(a_call(), "products", "acme")
        assert time.monotonic() - began < 3
        assert silent.value.code is ErrorCode.PROVIDER_UNAVAILABLE


async def test_a_temporal_that_goes_away_meanwhile_is_said_and_a_restarted_one_is_found_again(tmp_path: Path) -> None:
    queue = new_id()
    port = free_port()
    async with own_temporal(tmp_path, port) as address:
        dispatcher = dispatcher_of(address, queue)
        async with echo_worker(address, queue):
            assert (await dispatcher.call(a_call(say="before"), "products", "acme")).data is not None
        running = asyncio.create_task(dispatcher.call(a_call(), "products", "acme"))  # no worker is there any more
        await asyncio.sleep(0.5)
    began = time.monotonic()
    with pytest.raises(CohortError) as gone:
        await running
    assert time.monotonic() - began < 3
    assert gone.value.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert isinstance(gone.value, Unanswered)
    assert "while the call was running" in gone.value.message
    began = time.monotonic()
    with pytest.raises(CohortError, match="Nothing was started"):
        await dispatcher.call(a_call(), "products", "acme")
    assert time.monotonic() - began < 3
    async with own_temporal(tmp_path, port) as address, echo_worker(address, queue):
        assert (await dispatcher.call(a_call(say="after"), "products", "acme")).data is not None
