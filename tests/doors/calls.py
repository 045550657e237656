"""A small real workflow under the name that doors start, and calls to send it: batching without the whole house."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from domain.calls import BatchOutcome, Call, CallBatch, Caller, CallLabels, Outcome
from domain.errors import invalid
from domain.ids import new_id
from mcp_server.engine import connect


def a_call(*, seconds: float = 20, say: str = "", **given: Any) -> Call:
    """A call that `Echo` understands: `fail`, `sleep`, `defer` and `text` in its input."""
    call_id = new_id()
    return Call(
        id=call_id,
        operation="products_get",
        permission="products:read",
        caller=Caller(key_id="k", user_id="u"),
        labels=CallLabels(request_id=call_id, correlation_id=call_id),
        input={"text": say, **given},
        deadline=time.time() + seconds,
    )


@activity.defn(name="pause")
async def pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


@workflow.defn(name="Calls", sandboxed=False)
class Echo:
    """Answers each call with its own input and the size of its batch."""

    @workflow.run
    async def run(self, batch: CallBatch) -> BatchOutcome:
        slowest = max(call.input.get("sleep", 0) for call in batch.calls)
        if slowest:
            await workflow.execute_local_activity(
                "pause", slowest, schedule_to_close_timeout=timedelta(seconds=slowest + 20)
            )
        if any(call.input.get("crash") for call in batch.calls):
            raise ApplicationError("a secret of the house", non_retryable=True)
        return BatchOutcome(outcomes=tuple(_answer(call, len(batch.calls)) for call in batch.calls))


@workflow.defn(name="Later", sandboxed=False)
class Later:
    """What a deferred call goes on as."""

    @workflow.run
    async def run(self, call_id: str) -> Outcome:
        return Outcome(call_id=call_id, data={"late": True})


def _answer(call: Call, size: int) -> Outcome:
    if call.input.get("fail"):
        return Outcome(call_id=call.id, error=invalid(("text", "is bad")).body())
    if call.input.get("defer"):
        return Outcome(call_id=call.id, deferred=call.input["defer"])
    return Outcome(call_id=call.id, data={"text": call.input["text"], "batch": size})


@contextlib.asynccontextmanager
async def echo_worker(address: str, queue: str) -> AsyncGenerator[Client]:
    """A worker of these workflows on its own task queue; yields a client."""
    client = await Client.connect(address, data_converter=pydantic_data_converter)
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Echo, Later],
        activities=[pause],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield client


async def door_client(address: str) -> Client:
    """A client as the front door has it."""
    return await connect(address, "default", pydantic_data_converter)
