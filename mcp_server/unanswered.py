"""Calls whose answer nobody has although they may have been started: what helps depends on what they do."""

from domain.errors import CohortError

_WITH_EFFECT = (
    "The call may still be running; with an idempotency key a retry picks its answer up instead of starting it again."
)


class Unanswered(CohortError):
    """What happened, without advice: those who run calls do not know which of them have an effect."""

    def advised(self, *, effect: bool) -> CohortError:
        """The same with what to do next. A call that only reads takes no idempotency key and is simply asked again."""
        advice = _WITH_EFFECT if effect else "Ask again."
        return CohortError(self.code, f"{self.message} {advice}", details=self.details, retryable=self.retryable)
