"""Natural batching: concurrent calls of one group and family share workflow executions, and a lone call waits for none.

There is no timer. At most two executions of a lane are in flight; what queues behind them fills the next one.
"""

import asyncio
import contextvars
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from domain.calls import BatchOutcome, Call, CallBatch, Outcome
from domain.errors import CohortError, ErrorCode, internal
from mcp_server.unanswered import Unanswered

IN_FLIGHT = 2
"""Executions of one lane at a time: one would be faster still, but let one slow call hold up its lane (ADR 0001)."""

BATCH_CALLS = 64
"""Calls of one execution."""

BATCH_BYTES = 1_000_000
"""Encoded input of one execution: a payload may have 2 MB."""

QUEUE_CALLS = 1_024
"""Calls of one lane that wait; beyond this a call is refused with `rate_limited`."""

QUEUE_BYTES = 16_000_000
"""Encoded input of the calls of one lane that wait: 1,024 large calls would be twice the memory that a door has."""

EXECUTION_SECONDS = 30.0
"""How long a lane waits for one execution before it gives its place to the next."""

_log = logging.getLogger("cohort.dispatch")


class Engine(Protocol):
    """What runs batches; `mcp_server.engine` is the real one."""

    async def run(self, batch: CallBatch, seconds: float) -> BatchOutcome:
        """Run one execution of `Calls` and wait for its outcomes, at most `seconds`."""
        ...

    async def follow(self, workflow_id: str, seconds: float) -> Outcome:
        """Wait for the outcome of a call that goes on in a workflow of its own."""
        ...


@dataclass
class _Waiting:
    """A call that waits for its execution, and the context (trace) in which it was made."""

    call: Call
    size: int
    answer: "asyncio.Future[Outcome]"
    context: contextvars.Context


@dataclass
class _Lane:
    """The calls of one group and one family of operations."""

    queue: deque[_Waiting] = field(default_factory=deque[_Waiting])
    size: int = 0  # of what is in the queue
    running: int = 0
    pumping: bool = False
    pace: float = 0.1  # seconds that an execution took lately


class Dispatcher:
    """Sends calls to the workflows and gives each its outcome. One per process and event loop."""

    def __init__(
        self,
        engine: Engine,
        *,
        queue_calls: int = QUEUE_CALLS,
        queue_bytes: int = QUEUE_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._queue_calls = queue_calls
        self._queue_bytes = queue_bytes
        self._clock = clock
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._executions: set[asyncio.Task[None]] = set()

    async def call(self, call: Call, family: str, lane: str) -> Outcome:
        """The outcome of one call, wherever it goes on; cancelling this stops the waiting, not the work.

        A call that repeats one still under way waits for its end and is asked again, so that it is admitted and its
        answer authorised like any later request with the same idempotency key. If the first one failed, it runs.

        Raises:
            CohortError: rate_limited, deadline_exceeded, provider_unavailable or internal.
        """
        ended: set[str] = set()
        while (outcome := await self._ask(call, family, lane)).ask_after is not None:
            if outcome.ask_after in ended:
                raise _unsettled()
            await self._before_deadline(call, self._engine.follow(outcome.ask_after, self._left(call)))
            ended.add(outcome.ask_after)
        while outcome.deferred is not None:
            outcome = await self._before_deadline(call, self._engine.follow(outcome.deferred, self._left(call)))
        return outcome

    async def _ask(self, call: Call, family: str, lane: str) -> Outcome:
        return await self._before_deadline(call, self._enqueue(call, family, lane).answer)

    async def close(self, seconds: float) -> None:
        """Wait at most `seconds` for the executions in flight, then leave them to the workflow server."""
        if self._executions:
            await asyncio.wait(self._executions, timeout=seconds)
        for execution in list(self._executions):
            execution.cancel()

    def _left(self, call: Call) -> float:
        return max(call.deadline - self._clock(), 0.0)

    async def _before_deadline(self, call: Call, answer: Awaitable[Outcome]) -> Outcome:
        try:
            async with asyncio.timeout(self._left(call)):
                return await answer
        except TimeoutError:
            raise deadline_exceeded() from None

    def _enqueue(self, call: Call, family: str, name: str) -> _Waiting:
        key = (name, family)
        lane = self._lanes.setdefault(key, _Lane())
        size = len(call.model_dump_json().encode())
        self._check_room(lane, size)
        waiting = _Waiting(call, size, asyncio.get_running_loop().create_future(), contextvars.copy_context())
        lane.queue.append(waiting)
        lane.size += size
        if not lane.pumping:
            # On the loop's next turn, so that calls which are ready at the same moment go together; no timer.
            lane.pumping = True
            asyncio.get_running_loop().call_soon(self._pump, key, lane)
        return waiting

    def _check_room(self, lane: _Lane, size: int) -> None:
        """Refuse what the lane has no room for; a call that nothing waits before always has."""
        if len(lane.queue) >= self._queue_calls:
            what = f"{len(lane.queue):,} calls"
        elif lane.queue and lane.size + size > self._queue_bytes:
            what = f"{lane.size / 1e6:,.1f} MB of calls"
        else:
            return
        ahead = max(len(lane.queue) / BATCH_CALLS, lane.size / BATCH_BYTES) / IN_FLIGHT
        raise CohortError(
            ErrorCode.RATE_LIMITED,
            f"{what} of your group are waiting already. Nothing was started; try again later.",
            retry_after=max(1, math.ceil(ahead * lane.pace)),
        )

    def _pump(self, key: tuple[str, str], lane: _Lane) -> None:
        lane.pumping = False
        while lane.running < IN_FLIGHT and (batch := self._take(lane)):
            lane.running += 1
            # In the context of the first call, whose trace the execution belongs to.
            execution = batch[0].context.run(asyncio.ensure_future, self._execute(key, lane, batch))
            self._executions.add(execution)
            execution.add_done_callback(self._ended)
        if not lane.queue and not lane.running:
            self._lanes.pop(key, None)

    def _ended(self, execution: "asyncio.Task[None]") -> None:
        self._executions.discard(execution)
        if not execution.cancelled() and (error := execution.exception()) is not None:
            _log.error("an execution's answer could not be used", exc_info=error)

    def _take(self, lane: _Lane) -> list[_Waiting]:
        """The next calls that somebody still waits for, as many as one execution may have."""
        batch: list[_Waiting] = []
        size = 0
        while lane.queue and len(batch) < BATCH_CALLS:
            first = lane.queue[0]
            gone = first.answer.done()
            if batch and not gone and size + first.size > BATCH_BYTES:
                break
            lane.size -= lane.queue.popleft().size
            if not gone:
                batch.append(first)
                size += first.size
        return batch

    async def _execute(self, key: tuple[str, str], lane: _Lane, batch: list[_Waiting]) -> None:
        began = self._clock()
        calls = tuple(waiting.call for waiting in batch)
        seconds = min(max(self._left(call) for call in calls), EXECUTION_SECONDS)
        failure: CohortError = internal()
        outcomes: tuple[Outcome | None, ...] = (None,) * len(batch)
        try:
            answered = await self._engine.run(CallBatch(family=key[1], lane=key[0], calls=calls), seconds)
            if len(answered.outcomes) == len(batch):  # in the order of the calls
                outcomes = answered.outcomes
        except CohortError as error:
            failure = error
        except asyncio.CancelledError:
            failure = Unanswered(ErrorCode.PROVIDER_UNAVAILABLE, "This front door is stopping.", retry_after=1)
            raise
        finally:
            lane.running -= 1
            lane.pace = 0.7 * lane.pace + 0.3 * (self._clock() - began)
            for waiting, outcome in zip(batch, outcomes, strict=True):
                _answer(waiting, outcome, failure)
            self._pump(key, lane)


def deadline_exceeded() -> CohortError:
    """Nobody waits any longer; what was started may still end."""
    return Unanswered(ErrorCode.DEADLINE_EXCEEDED, "The answer did not come in time.")


def _unsettled() -> CohortError:
    """The workflow of the first request is over, and its key still says that it runs."""
    return CohortError(
        ErrorCode.CONFLICT,
        "The first request with this idempotency key has ended, but how could not be written down. It may have cost "
        "something. Use a new idempotency key to ask again.",
    )


def _answer(waiting: _Waiting, outcome: Outcome | None, failure: CohortError) -> None:
    if waiting.answer.done():
        return
    if outcome is not None:
        waiting.answer.set_result(outcome)
    else:
        waiting.answer.set_exception(type(failure).of(failure.body()))
