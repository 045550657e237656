"""Health as the front door alone can tell it, for when the workflows that would tell more do not answer."""

from domain.calls import Facts, Outcome
from domain.errors import CohortError, ErrorCode
from domain.health import ComponentHealth, HealthOutput
from domain.policy import Principal

FAMILY = "health"
_NOTES = {
    ErrorCode.PROVIDER_UNAVAILABLE: "the workflow server does not answer: nothing is answered until it is back",
    ErrorCode.DEADLINE_EXCEEDED: "no worker answers: calls wait in the workflow server until one does",
}


def stands_in_for(family: str, error: CohortError) -> bool:
    """Whether the door answers a call of `family` itself after this failure to run it."""
    return family == FAMILY and error.code in _NOTES


def outcome(
    call_id: str, principal: Principal, error: CohortError, *, waited: float, read: float, version: str
) -> Outcome:
    """What is known here: that nothing came back within `waited` seconds, and that SQL was read in `read` seconds."""
    output = HealthOutput(
        status="down",
        version=version,
        components=[
            ComponentHealth(name="database", state="ok", latency=round(read * 1000, 1)),
            ComponentHealth(name="workflows", state="down", latency=round(waited * 1000, 1), note=_NOTES[error.code]),
        ],
        groups=[],
    )
    data = output.model_dump(mode="json", by_alias=True)
    return Outcome(call_id=call_id, data=data, facts=Facts.of(principal))
