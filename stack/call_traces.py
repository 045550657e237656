"""Keeps every call in the trace of its own door, although executions serve many calls at once.

An execution of `Calls` belongs to the trace of its first call. The others get a span of their own for each step of
it, linked to the step, and what goes on for a call in an execution of its own goes on in that call's trace.
"""

from collections.abc import Sequence
from typing import Any, cast

import temporalio.client
import temporalio.worker
from opentelemetry import trace
from opentelemetry.trace import Link
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from temporalio import activity
from temporalio.converter import PayloadConverter
from temporalio.workflow import ChildWorkflowHandle

from domain.calls import Call, CallBatch, Settlements, Work
from domain.completions import CompletionJob
from domain.ingestion import IngestJob

HEADER = "_tracer-data"
"""Where Temporal's own interceptor puts the trace context."""

_PROPAGATOR = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("cohort.calls")


class ChildTraces(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    """Starts children in the trace of the call that they serve."""

    def workflow_interceptor_class(
        self, input: temporalio.worker.WorkflowInterceptorClassInput
    ) -> type[temporalio.worker.WorkflowInboundInterceptor]:
        """The part that runs beside workflows."""
        return _Inbound


class _Inbound(temporalio.worker.WorkflowInboundInterceptor):
    def init(self, outbound: temporalio.worker.WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(temporalio.worker.WorkflowOutboundInterceptor):
    async def start_child_workflow(
        self, input: temporalio.worker.StartChildWorkflowInput
    ) -> ChildWorkflowHandle[Any, Any]:
        job = input.args[0] if input.args else None
        if isinstance(job, CompletionJob | IngestJob):
            own = job.admitted.call.labels.traceparent
            given = _traceparent(input)
            if own is not None and given is not None and _trace_of(own) != _trace_of(given):
                carrier = PayloadConverter.default.to_payloads([{"traceparent": own}])[0]
                input.headers = {**input.headers, HEADER: carrier}
        return await super().start_child_workflow(input)


class BatchSpans(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    """Gives each call of a batch a span for each step, in its own trace."""

    def intercept_activity(
        self, next: temporalio.worker.ActivityInboundInterceptor
    ) -> temporalio.worker.ActivityInboundInterceptor:
        """The part that runs around activities."""
        return _Activity(next)


class _Activity(temporalio.worker.ActivityInboundInterceptor):
    async def execute_activity(self, input: temporalio.worker.ExecuteActivityInput) -> Any:
        step = trace.get_current_span().get_span_context()
        others = [call for call in _calls(input.args) if _trace_of(call.labels.traceparent) != f"{step.trace_id:032x}"]
        spans = [
            _tracer.start_span(
                activity.info().activity_type,
                context=_PROPAGATOR.extract({"traceparent": call.labels.traceparent or ""}),
                links=[Link(step)],
                attributes={"cohort.call": call.id, "cohort.operation": call.operation},
            )
            for call in others
            if call.labels.traceparent
        ]
        try:
            return await super().execute_activity(input)
        finally:
            for span in spans:
                span.end()


def _calls(args: Sequence[Any]) -> Sequence[Call]:
    match args:
        case [CallBatch() | Work() as batch]:
            return batch.calls
        case [Settlements() as settlements]:
            return [item.call for item in settlements.items]
        case _:
            return ()


def _traceparent(input: temporalio.worker.StartChildWorkflowInput) -> str | None:
    payload = input.headers.get(HEADER)
    if payload is None:
        return None
    carrier = cast("dict[str, str]", PayloadConverter.default.from_payloads([payload])[0])
    return carrier.get("traceparent")


def _trace_of(traceparent: str | None) -> str:
    """The trace id in a W3C `traceparent`."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) == 4 else ""
