"""Write down how calls ended: audit, ledger, idempotency, in one transaction for the whole batch."""

import time
from collections.abc import Sequence

from opentelemetry import metrics
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from domain.calls import Call, Outcome, Settled, Settlement, Settlements, Usage
from domain.errors import ErrorCode
from domain.policy import Principal
from storage import answers, audit, idempotency, ledger
from storage.audit import Actor, Decision, Entry
from storage.idempotency import IdempotencyKeys
from storage.ledger import LedgerRow
from storage.sql import Database
from workflows import ports

_REFUSALS = {
    ErrorCode.UNAUTHENTICATED,
    ErrorCode.FORBIDDEN,
    ErrorCode.NOT_FOUND,
    ErrorCode.INVALID_ARGUMENT,
    ErrorCode.CONFLICT,
    ErrorCode.RATE_LIMITED,
    ErrorCode.BUDGET_EXCEEDED,
}

_calls = metrics.get_meter("cohort.calls").create_counter("cohort.calls", description="Calls by operation and outcome")


class Settle:
    """Settling the same calls again writes nothing."""

    def __init__(self, database: Database, keys: IdempotencyKeys) -> None:
        self._database = database
        self._keys = keys

    @activity.defn(name=ports.settle.name)
    async def run(self, settlements: Settlements) -> Settled:
        """Write all of them, or none."""
        async with self._database.write() as tx:
            return Settled(written=await write(tx, settlements.items, self._keys, lane=settlements.lane))


async def write(
    tx: AsyncConnection, items: Sequence[Settlement], keys: IdempotencyKeys, *, lane: str | None = None
) -> int:
    """Write how these calls ended, in the caller's transaction; how many audit entries were new.

    `lane` is the group under which calls are audited that were not admitted, or that repeated another one.

    A call that goes on in a workflow of its own has not ended: repeated requests are told where to wait for it. Nor has
    one that is to be asked again: nothing was told to it yet.
    """
    going_on = [item for item in items if item.outcome.deferred is not None and item.principal is not None]
    until = time.time() + ports.CHILD_LIMIT.total_seconds()
    await keys.go_on(tx, {item.call.id: item.outcome.deferred for item in going_on if item.outcome.deferred}, until)
    items = [item for item in items if item.outcome.deferred is None and item.outcome.ask_after is None]
    written = await audit.append(tx, [entry(item, lane) for item in items])
    await ledger.record(tx, [row for item in items if (row := _row(item)) is not None])
    claimed = [item for item in items if item.call.idempotency_key is not None and item.principal is not None]
    await keys.finish(tx, [item.outcome for item in claimed if item.outcome.error is None])
    stored = [item.call.id for item in claimed if item.outcome.stored]
    await answers.keep(tx, stored, time.time() + idempotency.LIFETIME)
    # Also where admission failed after its claim: such a call has no principal.
    failed = [
        item.call.id for item in items if item.call.idempotency_key is not None and item.outcome.error is not None
    ]
    if failed:
        await keys.release(tx, failed)
    for item in items:
        error = item.outcome.error
        _calls.add(1, {"cohort.operation": item.call.operation, "cohort.outcome": error.code if error else "ok"})
    return written


def entry(item: Settlement, lane: str | None = None) -> Entry:
    """The audit entry of a call that has ended."""
    error = item.outcome.error
    decision: Decision = "allowed" if error is None else "refused" if error.code in _REFUSALS else "failed"
    return Entry(
        actor=_actor(item.call, item.principal, lane),
        operation=item.call.operation,
        decision=decision,
        reason=error.code.value if error is not None else "",
        # One entry a call, however often this activity is tried.
        id=item.call.id,
    )


def _actor(call: Call, principal: Principal | None, lane: str | None) -> Actor:
    """Who acted. A lane is a billing group of the caller's own, never one that he only named (`storage.identity`)."""
    correlation = call.labels.correlation_id
    if principal is not None:
        return Actor.of(principal, correlation)
    caller = call.caller
    return Actor(caller.user_id, caller.key_id, lane, caller.override, correlation)


def _row(item: Settlement) -> LedgerRow | None:
    outcome: Outcome = item.outcome
    if item.principal is None or outcome.usage is None or outcome.error is not None:
        return None
    return ledger_row(item.call, item.principal, outcome.usage)


def ledger_row(call: Call, principal: Principal, usage: Usage) -> LedgerRow:
    """What a call used, on the account of its billing group."""
    return LedgerRow(
        call_id=call.id,
        group_id=principal.billing_group,
        user_id=principal.user_id,
        key_id=principal.key_id,
        operation=call.operation,
        provider=usage.provider,
        model=usage.model,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost_micros=ledger.micros(usage.cost),
        cached=usage.cached,
        user_label=call.labels.user_label,
        session_label=call.labels.session_label,
    )
