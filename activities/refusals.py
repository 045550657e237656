"""Carries a `CohortError` of an activity to its workflow, where it becomes the call's answer."""

from typing import Any

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from domain.errors import CohortError
from workflows.ports import REFUSED


class Refusals(Interceptor):
    """For the worker: activities raise `CohortError` and know nothing of Temporal's errors."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """The part that runs around activities."""
        return _Inbound(next)


class _Inbound(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await super().execute_activity(input)
        except CohortError as error:
            raise ApplicationError(
                error.message,
                error.body(),
                type=REFUSED,
                non_retryable=not error.retryable,
                # What a caller is told is no fault of ours, and no reason for a stack trace in the log.
                category=ApplicationErrorCategory.BENIGN,
            ) from None
