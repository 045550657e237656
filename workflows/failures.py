"""How a failed activity becomes an answer that a caller may see."""

from pydantic import ValidationError
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError

from domain.errors import ErrorBody, internal
from workflows.ports import REFUSED


def body_of(error: ActivityError) -> ErrorBody:
    """The error that the activity meant for the caller, or `internal` where it meant none."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type == REFUSED and cause.details:
        try:
            return ErrorBody.model_validate(cause.details[0])
        except ValidationError:
            return internal().body()
    return internal().body()


def cut_off(error: ActivityError) -> bool:
    """Whether the activity ended at one of its time limits rather than by itself."""
    return isinstance(error.cause, TimeoutError)
