"""What caller and log are told of a provider's failure. Never its own words: they may hold keys or prompts."""

from dataclasses import dataclass
from typing import Any

from domain.errors import CohortError, ErrorCode, invalid

_REFUSED_US = {
    401: "the provider does not take this server's key",
    402: "the provider asks for payment",
    403: "the provider does not let this server's key use the model",
    404: "the provider knows no such model or address",
    405: "the provider's address is not one for completions",
    422: "the provider does not understand this server's requests",
}
"""Statuses that say something about this server's set-up: no second attempt on the route, but another route may do."""
_TOO_LONG = ("context length", "context size", "context window", "maximum context", "context_length")
_NO_CREDENTIALS = "missing credentials"
"""How the library of OpenAI's wire format refuses a call that it cannot sign; nothing was sent."""


@dataclass(frozen=True)
class Failure:
    """`reason` is for the log; `error` is what the caller is told."""

    reason: str
    error: CohortError


def explained(known: Any, error: Exception, route: str, fault: str | None = None) -> Failure:
    """What a provider's exception stands for; `known` is LiteLLM's module of exceptions.

    `fault` is what is wrong with the route's set-up, where that can be seen. Of the error, `provider_unavailable` means
    that another route may answer, `retryable` that this one may; `invalid_argument` means that none will.
    """
    status = getattr(error, "status_code", None)
    if isinstance(error, known.ContentPolicyViolationError):
        refused = invalid(("prompt", f"was refused by the content policy of the model {route}"))
        return Failure("its content policy refused the prompt", refused)
    if isinstance(error, known.ContextWindowExceededError) or status == 413 or _says_too_long(known, error):
        too_long = invalid(("prompt", f"is too long for the model {route}, together with maxTokens"))
        return Failure("the prompt is too long for it", too_long)
    if fault is not None:
        return Failure(fault, not_set_up())
    if status in _REFUSED_US:
        return Failure(
            _REFUSED_US[status],
            unavailable("The model's provider refuses this server's requests. An operator must look.", again=False),
        )
    if _NO_CREDENTIALS in str(error).lower():
        return Failure("no credentials for its provider are set", not_set_up())
    if isinstance(error, known.BadRequestError):
        refused = invalid(("data", f"was refused by the model {route}: shorten it, or leave options out"))
        return Failure("the provider refused the request", refused)
    if isinstance(error, known.Timeout):
        return Failure("the provider did not answer in time", timed_out())
    if status == 429:
        return Failure("the provider is at its limit", unavailable("The model's provider is at its limit."))
    return Failure(
        "the provider failed or could not be reached",
        unavailable("The model's provider failed or could not be reached."),
    )


def not_set_up() -> CohortError:
    """This server's own mistake: no repetition and no other request mends it."""
    return unavailable("The model is not set up correctly on this server. An operator must look.", again=False)


def timed_out() -> CohortError:
    """The time for one attempt is over."""
    return unavailable("The model's provider did not answer in time.")


def garbled() -> CohortError:
    """What came back holds no answer."""
    return unavailable("The model's provider sent an answer that could not be read.")


def unavailable(what: str, *, again: bool = True) -> CohortError:
    """`provider_unavailable`; `again` tells whether the same route may answer another attempt."""
    advice = "No cost was booked. Try again, or name another model." if again else "Name another model."
    return CohortError(ErrorCode.PROVIDER_UNAVAILABLE, f"{what} {advice}", retryable=again)


def _says_too_long(known: Any, error: Exception) -> bool:
    """For providers that have no code for it; their words are read, not repeated."""
    return isinstance(error, known.BadRequestError) and any(words in str(error).lower() for words in _TOO_LONG)
