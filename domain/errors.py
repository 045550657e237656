"""One enum of errors and one table: code to HTTP status, MCP answer and whether a retry can help."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from domain.base import Contract


class ErrorCode(StrEnum):
    """Every error a caller can meet."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    INVALID_ARGUMENT = "invalid_argument"
    CONFLICT = "conflict"
    RATE_LIMITED = "rate_limited"
    BUDGET_EXCEEDED = "budget_exceeded"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    INTERNAL = "internal"


@dataclass(frozen=True)
class ErrorTraits:
    """How one code is answered.

    `retryable` is what holds where an error does not say otherwise itself; `sometimes` tells that some do.
    `protocol_code` is the JSON-RPC code over MCP; None means an `isError` tool result, because a model can act on it.
    """

    status: int
    retryable: bool
    sometimes: bool = False
    protocol_code: int | None = None


ERRORS: dict[ErrorCode, ErrorTraits] = {
    ErrorCode.UNAUTHENTICATED: ErrorTraits(401, retryable=False, protocol_code=-32001),
    ErrorCode.FORBIDDEN: ErrorTraits(403, retryable=False),
    ErrorCode.NOT_FOUND: ErrorTraits(404, retryable=False),
    ErrorCode.INVALID_ARGUMENT: ErrorTraits(422, retryable=False),
    ErrorCode.CONFLICT: ErrorTraits(409, retryable=False, sometimes=True),
    ErrorCode.RATE_LIMITED: ErrorTraits(429, retryable=True),
    ErrorCode.BUDGET_EXCEEDED: ErrorTraits(402, retryable=False),
    ErrorCode.PROVIDER_UNAVAILABLE: ErrorTraits(503, retryable=True),
    ErrorCode.DEADLINE_EXCEEDED: ErrorTraits(504, retryable=True),
    ErrorCode.INTERNAL: ErrorTraits(500, retryable=False, protocol_code=-32603),
}


class FieldProblem(Contract):
    """One field of bad input: where it is (`filters.minPrice`) and what is wrong with it."""

    field: str
    problem: str


class ErrorBody(Contract):
    """The `error` of a response: a code to branch on, a sentence to read, details to act on."""

    code: ErrorCode
    message: str
    details: dict[str, Any] = {}
    retryable: bool = False


class CohortError(Exception):
    """Any refusal or failure that a caller may see; carries nothing internal."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details or {})
        if retry_after is not None:
            self.details["retryAfter"] = retry_after
        self.retryable = ERRORS[code].retryable if retryable is None else retryable

    def body(self) -> ErrorBody:
        """The wire form."""
        return ErrorBody(code=self.code, message=self.message, details=self.details, retryable=self.retryable)

    @classmethod
    def of(cls, body: ErrorBody) -> "CohortError":
        """The exception that a wire form stands for."""
        return cls(body.code, body.message, details=body.details, retryable=body.retryable)


def invalid(*problems: tuple[str, str]) -> CohortError:
    """`invalid_argument` that names each field: `invalid(("limit", "must be 100 or less"))`."""
    fields = [FieldProblem(field=field, problem=problem) for field, problem in problems]
    said = "; ".join(f"{p.field}: {p.problem}" for p in fields)
    return CohortError(
        ErrorCode.INVALID_ARGUMENT,
        f"The request was not accepted and nothing was done. {said}{'' if said.endswith(('.', '?')) else '.'}",
        details={"fields": [p.model_dump(by_alias=True) for p in fields]},
    )


_ELSEWHERE = {
    "upload": "An upload is kept for a day, or until rows of it were taken in: send the file again. Nothing was done.",
    "job": "The id is in the answer that started the job, and is kept for 30 days.",
}


def not_found(kind: str) -> CohortError:
    """The one answer for what does not exist and for what the caller may not see; it never repeats the id."""
    advice = _ELSEWHERE.get(kind, "Search or list to find what you may see.")
    return CohortError(ErrorCode.NOT_FOUND, f"There is no such {kind}, or you may not see it. {advice}")


def internal() -> CohortError:
    """The answer to a fault of ours: the correlation id in the metadata is all that a caller gets."""
    return CohortError(
        ErrorCode.INTERNAL, "Something failed on our side. Tell your operator the correlation id of this answer."
    )
