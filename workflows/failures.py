"""How a failed activity becomes an answer that a caller may see."""

from pydantic import ValidationError
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, FailureError, TimeoutError

from domain.errors import CohortError, ErrorBody, ErrorCode, internal
from workflows.ports import REFUSED

FAILED = (ActivityError, ApplicationError, TimeoutError)
"""What a failed activity raises in a workflow: a regular one its wrapped failure, a local one the bare failure."""


def body_of(error: FailureError) -> ErrorBody:
    """The error that the activity meant for the caller, or `internal` where it meant none."""
    cause = _cause(error)
    if isinstance(cause, CancelledError):
        return cancelled()
    if isinstance(cause, ApplicationError) and cause.type == REFUSED and cause.details:
        try:
            return ErrorBody.model_validate(cause.details[0])
        except ValidationError:
            return internal().body()
    return internal().body()


def cancelled() -> ErrorBody:
    """What a caller is told when an operator has cancelled the execution."""
    return CohortError(
        ErrorCode.CONFLICT, "The call was ended by an operator before it was answered. Ask again if you still need it."
    ).body()


def cut_off(error: FailureError) -> bool:
    """Whether the activity ended at one of its time limits rather than by itself."""
    return isinstance(_cause(error), TimeoutError)


def _cause(error: FailureError) -> BaseException | None:
    return error.cause if isinstance(error, ActivityError) else error
