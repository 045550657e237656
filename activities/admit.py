"""Decide which calls of a batch may go on: who the callers are now, what they may, what was asked before."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from temporalio import activity

from domain import canonical
from domain.calls import Admissions, Call, CallBatch, Facts, Outcome
from domain.errors import CohortError, ErrorBody, ErrorCode
from domain.policy import Principal
from storage import provenance, snapshots
from storage.answers import Answers
from storage.idempotency import Ask, Claim, IdempotencyKeys
from storage.sql import Database
from workflows import ports


@dataclass(frozen=True)
class _Repeated:
    """A call whose idempotency key another call had before."""

    call: Call
    principal: Principal
    claim: Claim


class Admit:
    """One snapshot for the batch, and one write transaction where a call brings an idempotency key."""

    def __init__(self, database: Database, keys: IdempotencyKeys, answers: Answers) -> None:
        self._database = database
        self._keys = keys
        self._answers = answers

    @activity.defn(name=ports.admit.name)
    async def run(self, batch: CallBatch) -> Admissions:
        """Every call in exactly one of the three maps."""
        async with self._database.read() as tx:
            taken = await snapshots.take(tx, [call.caller for call in batch.calls])
        now = time.time()
        may: list[tuple[Call, Principal]] = []
        refused: dict[str, ErrorBody] = {}
        for call, principal in zip(batch.calls, taken, strict=True):
            try:
                may.append((call, _checked(call, principal, now)))
            except CohortError as error:
                refused[call.id] = error.body()
        repeated = await self._repeated(may)
        replayed, clashing = await self._replay(repeated)
        again = {one.call.id for one in repeated}
        refused |= clashing
        known = {
            call.id: Facts.of(principal)
            for call, principal in zip(batch.calls, taken, strict=True)
            if call.id in refused and isinstance(principal, Principal)
        }
        admitted = [(call, principal) for call, principal in may if call.id not in again]
        return _pack(admitted, refused, replayed).model_copy(update={"known": known})

    async def _repeated(self, calls: Sequence[tuple[Call, Principal]]) -> list[_Repeated]:
        """Claim the idempotency keys; the calls that came second."""
        asking = [(call, principal, call.idempotency_key) for call, principal in calls]
        asks = [(call, who, _ask(call, who, key)) for call, who, key in asking if key is not None]
        if not asks:
            return []
        async with self._database.write() as tx:
            claims = await self._keys.claim(tx, [ask for _, _, ask in asks])
        return [
            _Repeated(call, principal, claim)
            for (call, principal, _), claim in zip(asks, claims, strict=True)
            if claim.state != "fresh"
        ]

    async def _replay(self, repeated: Sequence[_Repeated]) -> tuple[dict[str, Outcome], dict[str, ErrorBody]]:
        """What repeated calls are answered: an earlier outcome, a workflow to wait for, or why neither."""
        finished = [(one, one.claim.outcome) for one in repeated if one.claim.outcome is not None]
        allowed: dict[str, bool] = {}
        if finished:
            async with self._database.read() as tx:
                readers = [(one.principal, outcome.provenance) for one, outcome in finished]
                verdicts = await provenance.authorised(tx, readers)
            allowed = {one.call.id: may for (one, _), may in zip(finished, verdicts, strict=True)}
        replayed: dict[str, Outcome] = {}
        refused: dict[str, ErrorBody] = {}
        for one in repeated:
            try:
                replayed[one.call.id] = await self._outcome(one, allowed.get(one.call.id, False))
            except CohortError as error:
                refused[one.call.id] = error.body()
        return replayed, refused

    async def _outcome(self, one: _Repeated, allowed: bool) -> Outcome:
        claim, facts = one.claim, Facts.of(one.principal)
        if claim.state == "conflict":
            raise CohortError(
                ErrorCode.CONFLICT,
                f"The idempotency key {one.call.idempotency_key!r} was used before, with another request. Nothing was "
                "done: send the first request again, or use a new key.",
            )
        if claim.outcome is not None:
            if not allowed:
                raise CohortError(
                    ErrorCode.CONFLICT,
                    "The stored answer rests on sources that have changed or that you may no longer see; use a new "
                    "idempotency key.",
                )
            # Its own answer, where a workflow task is run again, is there already, and for longer than `put` would say.
            if claim.outcome.stored and claim.call_id != one.call.id:
                await self._answers.put(one.call.id, await self._answers.get(claim.call_id))
            return claim.outcome.model_copy(update={"call_id": one.call.id, "facts": facts})
        if claim.workflow_id is not None:
            # Not that workflow's outcome: who may see what can change until it ends, and this caller may come with
            # another key than the first. Asked again, he is authorised by what the answer then rests on.
            return Outcome(call_id=one.call.id, ask_after=claim.workflow_id, facts=facts)
        raise CohortError(
            ErrorCode.CONFLICT,
            "The first request with this idempotency key is still being answered. Ask again in a second.",
            retryable=True,
            retry_after=1,
        )


def _checked(call: Call, principal: Principal | CohortError, now: float) -> Principal:
    if isinstance(principal, CohortError):
        raise principal
    if call.deadline <= now:
        raise CohortError(
            ErrorCode.DEADLINE_EXCEEDED, "The call waited past its deadline. Nothing was done: send it again."
        )
    if call.permission is not None and not principal.may(call.permission):
        raise CohortError(
            ErrorCode.FORBIDDEN,
            f"This needs the permission {call.permission}, which you do not have here. Use groups_list to see what "
            "each of your groups lets you do.",
        )
    return principal


def _ask(call: Call, principal: Principal, key: str) -> Ask:
    caller = call.caller
    return Ask(
        user_id=principal.user_id,
        operation=call.operation,
        key=key,
        digest=canonical.digest({"input": call.input, "context": caller.context, "override": caller.override}),
        call_id=call.id,
        deadline=call.deadline,
    )


def _pack(
    admitted: Sequence[tuple[Call, Principal]], refused: dict[str, ErrorBody], replayed: dict[str, Outcome]
) -> Admissions:
    """Colleagues who came with the same key and context share one entry."""
    places: dict[tuple[str, str | None, str | None], int] = {}
    principals: list[Principal] = []
    at: dict[str, int] = {}
    for call, principal in admitted:
        place = (call.caller.key_id, call.caller.context, call.caller.override)
        if place not in places:
            places[place] = len(principals)
            principals.append(principal)
        at[call.id] = places[place]
    return Admissions(principals=tuple(principals), admitted=at, refused=refused, replayed=replayed)
