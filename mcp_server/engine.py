"""Running batches on Temporal: start, wait, and say plainly what did not work and what may still be running."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from opentelemetry import trace
from opentelemetry.trace import Link
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from temporalio.client import Client, Interceptor, WorkflowFailureError
from temporalio.common import Priority
from temporalio.converter import DataConverter
from temporalio.exceptions import CancelledError, TemporalError, TerminatedError, WorkflowAlreadyStartedError
from temporalio.exceptions import TimeoutError as ExecutionTimeoutError
from temporalio.service import KeepAliveConfig, RetryConfig, RPCError, RPCStatusCode

from domain.calls import BatchOutcome, Call, CallBatch, Outcome
from domain.errors import CohortError, ErrorCode, internal
from mcp_server.dispatch import deadline_exceeded
from mcp_server.unanswered import Unanswered
from workflows import report
from workflows.attributes import attributes_of
from workflows.ports import TASK_QUEUE, TASK_TIMEOUT

START_SECONDS = 2.4
"""How long starting may take in all, so that an absent server is answered in under 3 s."""

GRACE_SECONDS = 15
"""How much longer than its callers an execution may live before the server ends it."""

_RANK = {"high": 1, "normal": 3, "low": 5}
_PROPAGATOR = TraceContextTextMapPropagator()
_AWAY = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.ABORTED,
    RPCStatusCode.UNKNOWN,  # a connection that broke in the middle
)
_NOT_STARTED = "The workflow server is away. Nothing was started; try again in a moment."
_SILENT = "The workflow server did not answer."

_TERMINATED = (
    "An operator ended the call before it was answered; what it had done by then is kept. To ask again, use a new "
    "idempotency key or none: the key of a call that was ended so is free again within about an hour."
)
_GIVEN_UP = (
    "The call came to no end within an hour and was given up. It may have cost something. Ask again in a minute; the "
    "same idempotency key may be used."
)

_log = logging.getLogger("cohort.engine")
_tracer = trace.get_tracer("cohort.door")


async def connect(
    address: str, namespace: str, converter: DataConverter, interceptors: Sequence[Interceptor] = ()
) -> Client:
    """A client that connects when it is first used, notices an absent server fast and finds a restarted one again."""
    return await Client.connect(
        address,
        namespace=namespace,
        data_converter=converter,
        interceptors=interceptors,
        lazy=True,
        connect_timeout=timedelta(seconds=1),
        retry_config=RetryConfig(
            initial_interval_millis=50,
            multiplier=2,
            max_interval_millis=400,
            max_elapsed_time_millis=1_500,
            max_retries=6,
        ),
        # The server forbids pings more often than every 10 s.
        keep_alive_config=KeepAliveConfig(interval_millis=11_000, timeout_millis=2_000),
    )


class TemporalEngine:
    """Executions of `Calls`, and of the workflows that carry single calls on."""

    def __init__(self, connecting: Callable[[], Awaitable[Client]], *, task_queue: str = TASK_QUEUE) -> None:
        self._connecting = connecting
        self._client: Client | None = None
        self._task_queue = task_queue

    async def _connected(self) -> Client:
        if self._client is None:
            self._client = await self._connecting()
        return self._client

    async def run(self, batch: CallBatch, seconds: float) -> BatchOutcome:
        """Run one execution of `Calls` and wait for its outcomes, at most `seconds`.

        Raises:
            CohortError: provider_unavailable, deadline_exceeded or internal.
        """
        with _tracer.start_as_current_span("calls", links=_links(batch.calls[1:])) as span:
            span.set_attributes(
                {"cohort.group": batch.lane, "cohort.family": batch.family, "cohort.calls": len(batch.calls)}
            )
            await self._start(batch, seconds)
            handle = (await self._connected()).get_workflow_handle(_id(batch), result_type=BatchOutcome)
            try:
                async with asyncio.timeout(seconds):
                    return await handle.result()
            except TimeoutError:
                raise deadline_exceeded() from None
            except (RPCError, WorkflowFailureError) as error:
                raise _failed(error, _id(batch), deadline_exceeded()) from error

    async def follow(self, workflow_id: str, seconds: float) -> Outcome:
        """Wait for the outcome of a call that goes on in a workflow of its own.

        Raises:
            CohortError: provider_unavailable, deadline_exceeded or internal.
        """
        handle = (await self._connected()).get_workflow_handle(workflow_id, result_type=Outcome)
        try:
            async with asyncio.timeout(seconds):
                return await handle.result()
        except TimeoutError:
            raise deadline_exceeded() from None
        except (RPCError, WorkflowFailureError) as error:
            given_up = CohortError(ErrorCode.DEADLINE_EXCEEDED, _GIVEN_UP, retry_after=60)
            raise _failed(error, workflow_id, given_up) from error

    async def _start(self, batch: CallBatch, seconds: float) -> None:
        urgent = min(_RANK[call.labels.priority] for call in batch.calls)
        try:
            async with asyncio.timeout(START_SECONDS):
                client = await self._connected()
                await client.start_workflow(
                    "Calls",
                    batch,
                    id=_id(batch),
                    task_queue=self._task_queue,
                    execution_timeout=timedelta(seconds=seconds + GRACE_SECONDS),
                    task_timeout=TASK_TIMEOUT,
                    static_summary=report.batch_summary(batch),
                    search_attributes=attributes_of(batch.calls, batch.lane, batch.family),
                    memo={"calls": {call.id: call.operation for call in batch.calls}},
                    priority=Priority(priority_key=urgent, fairness_key=batch.lane[:64]),
                    rpc_timeout=timedelta(seconds=START_SECONDS),
                )
        except WorkflowAlreadyStartedError:
            return  # a repeated request of ours reached the server twice: it is this very batch
        except TimeoutError as error:
            raise _unanswered(_SILENT) from error
        except RPCError as error:
            if error.status not in _AWAY:
                _log.error("could not start %s: %s", _id(batch), error)
                raise internal() from error
            # Only a connection that was never made is sure not to have carried the request.
            refused = error.status == RPCStatusCode.UNAVAILABLE and "connect" in error.message
            raise (_unavailable(_NOT_STARTED) if refused else _unanswered(_SILENT)) from error
        except (RuntimeError, TemporalError) as error:
            # A lazy client's first connection fails with a plain RuntimeError.
            _log.warning("could not reach the workflow server: %s", error)
            raise _unavailable(_NOT_STARTED) from error


def _id(batch: CallBatch) -> str:
    return f"calls-{batch.lane}-{batch.calls[0].id}"


def _links(calls: Sequence[Call]) -> list[Link]:
    """The door spans of the calls that share an execution with the first one."""
    carriers = ({"traceparent": call.labels.traceparent} for call in calls if call.labels.traceparent)
    spans = (trace.get_current_span(_PROPAGATOR.extract(carrier)) for carrier in carriers)
    return [Link(span.get_span_context()) for span in spans]


def _failed(error: RPCError | WorkflowFailureError, workflow_id: str, timed_out: CohortError) -> CohortError:
    """Why an execution gave no outcome, without anything internal."""
    if isinstance(error, RPCError):
        if error.status in _AWAY:
            return _unanswered("The workflow server went away while the call was running.")
        _log.error("could not follow %s: %s", workflow_id, error)
        return internal()
    match error.cause:
        case ExecutionTimeoutError():
            return timed_out
        case CancelledError() | TerminatedError():
            return CohortError(ErrorCode.CONFLICT, _TERMINATED)
        case _:
            _log.error("%s failed: %r", workflow_id, error.cause)
            return internal()


def _unavailable(message: str) -> CohortError:
    return CohortError(ErrorCode.PROVIDER_UNAVAILABLE, message, retry_after=1)


def _unanswered(message: str) -> CohortError:
    return Unanswered(ErrorCode.PROVIDER_UNAVAILABLE, message, retry_after=1)
