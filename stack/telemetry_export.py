"""The exporting half of `stack.telemetry`; imported only where an endpoint is set."""

from collections.abc import Mapping, Sequence

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status
from opentelemetry.util.types import AttributeValue
from temporalio.contrib.opentelemetry import TracingInterceptor

from stack.call_traces import BatchSpans, ChildTraces
from stack.telemetry import Telemetry

ALLOWED = frozenset(
    {
        "temporalWorkflowID",
        "temporalRunID",
        "temporalActivityID",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "error.type",
        "exception.type",
        "mcp.method.name",
        "mcp.protocol.version",
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.max_tokens",
        "gen_ai.request.model",
        "gen_ai.request.temperature",
        "gen_ai.response.finish_reasons",
        "gen_ai.tool.name",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "cohort.call",
        "cohort.calls",
        "cohort.correlation_id",
        "cohort.family",
        "cohort.group",
        "cohort.operation",
        "cohort.outcome",
        "cohort.request_id",
    }
)
"""The attributes that may leave the process, whatever a library puts on a span."""

METRICS_EVERY_MS = 10_000


class AllowListExporter(SpanExporter):
    """Hands spans on without any attribute that is not on the list, and without the words of errors."""

    def __init__(self, next_one: SpanExporter) -> None:
        self._next = next_one

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export what may leave."""
        return self._next.export([_stripped(span) for span in spans])

    def shutdown(self) -> None:
        """End the inner exporter."""
        self._next.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what the inner exporter holds."""
        return self._next.force_flush(timeout_millis)


def start(service: str, endpoint: str, version: str) -> Telemetry:
    """Set the global tracer and meter providers."""
    resource = Resource.create({"service.name": service, "service.version": version})
    base = endpoint.rstrip("/")
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = AllowListExporter(OTLPSpanExporter(endpoint=f"{base}/v1/traces", timeout=5))
    tracers.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1_000))
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(endpoint=f"{base}/v1/metrics", timeout=5), export_interval_millis=METRICS_EVERY_MS
    )
    meters = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)

    def close() -> None:
        tracers.shutdown()
        meters.shutdown(timeout_millis=5_000)

    # The first one is the outermost: it has the last word on what a child execution is told.
    return Telemetry(interceptors=(ChildTraces(), TracingInterceptor(), BatchSpans()), close=close)


def _stripped(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_allowed(span.attributes),
        events=[Event(event.name, _allowed(event.attributes), event.timestamp) for event in span.events],
        links=span.links,
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
    )


def _allowed(attributes: Mapping[str, AttributeValue] | None) -> dict[str, AttributeValue]:
    return {name: value for name, value in (attributes or {}).items() if name in ALLOWED}
