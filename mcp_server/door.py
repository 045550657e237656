"""What every door does with a call once it knows who asks and what for; no decision about the call is made here."""

import time
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from domain.base import Contract
from domain.calls import Call, Caller, CallLabels, Outcome
from domain.envelope import RequestMetadata
from domain.errors import CohortError, internal
from domain.policy import Principal
from mcp_server import envelope, own_health
from mcp_server.dispatch import Dispatcher
from mcp_server.identity import Ids
from mcp_server.operations import Operation
from mcp_server.unanswered import Unanswered
from storage.answers import Answers
from storage.identity import Identity

_PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(frozen=True)
class Asking:
    """One request as its door understood it, before the operation's own input."""

    ids: Ids
    token: str
    context: str | None = None
    override: str | None = None
    idempotency_key: str | None = None
    agent: str | None = None
    metadata: RequestMetadata = field(default_factory=RequestMetadata)


@dataclass(frozen=True)
class Answer:
    """How a call ended: `error` or `data`, and the envelope that says so."""

    body: dict[str, Any]
    error: CohortError | None = None


class Door:
    """The one way from a door to the workflows, shared by REST and MCP."""

    def __init__(self, identity: Identity, dispatcher: Dispatcher, answers: Answers, version: str) -> None:
        self._identity = identity
        self._dispatcher = dispatcher
        self._answers = answers
        self._version = version

    async def check(self, token: str) -> None:
        """Let only valid keys on.

        Raises:
            CohortError: unauthenticated.
        """
        await self._identity.verify(token)

    async def caller(self, asking: Asking) -> tuple[Caller, str]:
        """Who asks, and the lane (billing group) of the call.

        Raises:
            CohortError: unauthenticated, forbidden.
        """
        key = await self._identity.verify(asking.token, context=asking.context, override=asking.override)
        caller = Caller(key_id=key.key_id, user_id=key.user_id, context=asking.context, override=asking.override)
        return caller, key.lane

    async def principal(self, asking: Asking) -> Principal:
        """What the caller may do, read afresh.

        Raises:
            CohortError: unauthenticated, forbidden.
        """
        caller, _ = await self.caller(asking)
        return await self._identity.principal(caller)

    async def answer(self, operation: Operation, asking: Asking, given: Contract) -> Answer:
        """Send one call to its workflow and wait for how it ends. Cancelling this stops the waiting, not the work."""
        outcome: Outcome | None = None
        try:
            caller, lane = await self.caller(asking)
            call = _call(operation, asking, caller, given)
            outcome = await self._run(operation, call, lane)
            if outcome.error is not None:
                raise CohortError.of(outcome.error)
            data = await self._answers.get(outcome.call_id) if outcome.stored else outcome.data
            if data is None:
                raise internal()  # the dispatcher gives only outcomes that have an answer
        except CohortError as error:
            return Answer(envelope.failure(asking.ids, error, outcome), error)
        return Answer(envelope.success(asking.ids, data, outcome))

    async def _run(self, operation: Operation, call: Call, lane: str) -> Outcome:
        began = time.monotonic()
        try:
            return await self._dispatcher.call(call, operation.family, lane)
        except CohortError as error:
            if own_health.stands_in_for(operation.family, error):
                return await self._own_health(call, error, time.monotonic() - began)
            raise error.advised(effect=operation.effect) if isinstance(error, Unanswered) else error from None

    async def _own_health(self, call: Call, error: CohortError, waited: float) -> Outcome:
        """Nobody has admitted this call, so whether the caller may still ask is read here."""
        began = time.monotonic()
        principal = await self._identity.principal(call.caller)
        read = time.monotonic() - began
        return own_health.outcome(call.id, principal, error, waited=waited, read=read, version=self._version)


def _call(operation: Operation, asking: Asking, caller: Caller, given: Contract) -> Call:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    said = asking.metadata
    return Call(
        id=asking.ids.call,
        operation=operation.name,
        permission=operation.permission,
        caller=caller,
        labels=CallLabels(
            request_id=asking.ids.request,
            correlation_id=asking.ids.correlation,
            user_label=said.user_id,
            session_label=said.session_id,
            client_version=said.client_version,
            user_agent=asking.agent,
            priority=said.priority,
            traceparent=carrier.get("traceparent"),
        ),
        input=given.model_dump(mode="json"),
        idempotency_key=asking.idempotency_key if operation.effect else None,
        deadline=time.time() + operation.deadline,
    )


def mark(operation: Operation, answer: Answer) -> None:
    """Put the operation and how it ended on the door's span: names and codes only."""
    span = trace.get_current_span()
    span.set_attribute("cohort.operation", operation.name)
    span.set_attribute("cohort.call", answer.body["metadata"]["requestId"])
    if answer.error is not None:
        span.set_attribute("error.type", answer.error.code.value)
