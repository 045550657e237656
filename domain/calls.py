"""What travels between a door and the workflows: calls in batches, and one outcome a call."""

from typing import Any

from pydantic import Field

from domain.base import Contract
from domain.envelope import Pagination, Priority
from domain.errors import ErrorBody
from domain.policy import Level, Principal


class Caller(Contract):
    """Who asks, as the door verified it: ids only, never the key. Admission reads their state again."""

    key_id: str
    user_id: str
    context: str | None = None
    override: str | None = None


class CallLabels(Contract):
    """What rides along with a call: ids to follow it by, the application's own labels, trace context (W3C)."""

    request_id: str
    correlation_id: str
    user_label: str | None = None
    session_label: str | None = None
    client_version: str | None = None
    user_agent: str | None = None
    priority: Priority = "normal"
    traceparent: str | None = None


class Call(Contract):
    """One call of one operation. `input` is the operation's input model, dumped by field name (snake_case).

    `permission` comes from the operation table; None means that membership is enough. `idempotency_key` is honoured
    for operations that have an effect. `deadline` is a Unix time in seconds: past it nobody waits for the answer.
    """

    id: str
    operation: str
    permission: str | None
    caller: Caller
    labels: CallLabels
    input: dict[str, Any]
    idempotency_key: str | None = None
    deadline: float


class Facts(Contract):
    """What an answer's metadata say of the caller."""

    user_groups: tuple[str, ...] = ()
    effective_permissions: tuple[str, ...] = ()
    data_access_level: Level = Level.PUBLIC

    @classmethod
    def of(cls, principal: Principal) -> "Facts":
        """The facts of an admitted caller."""
        return cls(
            user_groups=principal.effective,
            effective_permissions=tuple(principal.permissions()),
            data_access_level=principal.clearance,
        )


class Usage(Contract):
    """What a completion used: tokens, and US dollars as the ledger has them."""

    provider: str | None = None
    model: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    cached: bool = False
    cache_age: float | None = None


class Provenance(Contract):
    """One object that an answer rests on, with the version that was read."""

    kind: str
    owner_group: str
    id: str
    version: int


class Outcome(Contract):
    """How one call ended: exactly one of `data`, `error`, `deferred`, `ask_after` and `stored` is set.

    `deferred` is the id of a workflow that carries the call on (its result is the final outcome). `ask_after` is the id
    of a workflow that carries an earlier call with the same idempotency key on: what comes of it is that caller's, so
    once it has ended, this call is asked again and admitted anew. `stored` means that
    the data were too large to travel and lie in `storage.answers` under the call's id. `facts` is None where the caller
    was refused before they were known.
    """

    call_id: str
    data: dict[str, Any] | None = None
    error: ErrorBody | None = None
    deferred: str | None = None
    ask_after: str | None = None
    stored: bool = False
    facts: Facts | None = None
    usage: Usage | None = None
    pagination: Pagination | None = None
    provenance: tuple[Provenance, ...] = ()


class CallBatch(Contract):
    """What one execution of `Calls` takes: calls of one group (`lane`) and one family of operations."""

    family: str
    lane: str
    calls: tuple[Call, ...] = Field(max_length=64)


class BatchOutcome(Contract):
    """One outcome a call, in the order of the calls."""

    outcomes: tuple[Outcome, ...]


class Admissions(Contract):
    """What admission decided. A call is in exactly one of the three maps, by call id.

    `admitted` points into `principals`, so that colleagues with the same key share one entry; `refused` and `replayed`
    (an earlier answer under the same idempotency key) are final. `known` has the facts of refused callers whom the
    snapshot knows.
    """

    principals: tuple[Principal, ...] = ()
    admitted: dict[str, int] = {}
    refused: dict[str, ErrorBody] = {}
    replayed: dict[str, Outcome] = {}
    known: dict[str, Facts] = {}


class AdmittedCall(Contract):
    """A call together with the snapshot of its caller."""

    call: Call
    principal: Principal


class Work(Contract):
    """The admitted calls of a batch, for a vectorised activity: `principal_of[call.id]` indexes `principals`."""

    calls: tuple[Call, ...]
    principals: tuple[Principal, ...]
    principal_of: dict[str, int]

    def admitted(self) -> list[AdmittedCall]:
        """The calls with their principals, in order."""
        return [AdmittedCall(call=c, principal=self.principals[self.principal_of[c.id]]) for c in self.calls]


class Settlement(Contract):
    """What is written down once a call has ended: the audit entry, and where it applies ledger and idempotency."""

    call: Call
    outcome: Outcome
    principal: Principal | None = None


class Settlements(Contract):
    """The settlements of one batch, written in one transaction. `lane` is the group that its calls were made for."""

    items: tuple[Settlement, ...]
    lane: str | None = None


class Settled(Contract):
    """How many rows a settlement wrote; a repeated settlement of the same calls writes none."""

    written: int
