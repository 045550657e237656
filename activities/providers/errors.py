"""What a caller is told of a provider's failure. Never the provider's own words: they may hold keys or prompts."""

from typing import Any

from domain.errors import CohortError, ErrorCode, invalid

_REFUSED_US = {401, 402, 403, 404, 405, 422}
"""Statuses that say something about this server's set-up: no second attempt on the route, but another route may do."""
_TOO_LONG = ("context length", "context size", "context window", "maximum context", "context_length")


def explained(known: Any, error: Exception, route: str) -> CohortError:
    """The error that a provider's exception stands for; `known` is LiteLLM's module of exceptions.

    `provider_unavailable` means that another route may answer, `retryable` that this one may; `invalid_argument` means
    that none will.
    """
    status = getattr(error, "status_code", None)
    if isinstance(error, known.ContentPolicyViolationError):
        return invalid(("prompt", f"was refused by the content policy of the model {route}"))
    if isinstance(error, known.ContextWindowExceededError) or status == 413 or _says_too_long(known, error):
        return invalid(("prompt", f"is too long for the model {route}, together with maxTokens"))
    if status in _REFUSED_US:
        return unavailable("The model's provider refuses this server's requests. An operator must look.", again=False)
    if isinstance(error, known.BadRequestError):
        return invalid(("data", f"was refused by the model {route}: shorten it, or leave options out"))
    if isinstance(error, known.Timeout):
        return timed_out()
    if status == 429:
        return unavailable("The model's provider is at its limit.")
    return unavailable("The model's provider failed or could not be reached.")


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
