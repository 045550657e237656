"""A real OTLP/HTTP receiver: decodes what exporters send, and answers what a test asks of it."""

import gzip
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


@dataclass(frozen=True)
class SeenSpan:
    """One span as it came over the wire."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, object]
    links: tuple[str, ...]
    """The trace ids of linked spans."""
    status: str


@dataclass
class Collector:
    """What was received so far."""

    url: str
    spans: list[SeenSpan] = field(default_factory=list[SeenSpan])
    metrics: set[str] = field(default_factory=set[str])
    raw: bytearray = field(default_factory=bytearray)
    """Every body, decompressed, for looking for what must not be in it."""

    def of_trace(self, trace: str) -> list[SeenSpan]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace == trace]

    def names(self, trace: str) -> set[str]:
        """The names of the spans of one trace."""
        return {span.name for span in self.of_trace(trace)}

    def ancestors(self, span: SeenSpan) -> list[str]:
        """The names of a span's ancestors, nearest first."""
        by_id = {one.id: one for one in self.spans}
        found: list[str] = []
        here = by_id.get(span.parent)
        while here is not None:
            found.append(here.name)
            here = by_id.get(here.parent)
        return found


@contextmanager
def collector() -> Generator[Collector]:
    """A receiver on a free port of loopback."""
    server = _Server(("127.0.0.1", 0), _Handler)
    seen = server.seen = Collector(url=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    seen: Collector


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        seen = cast(_Server, self.server).seen
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        seen.raw += body
        if self.path == "/v1/traces":
            seen.spans += _spans(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
        else:
            request = ExportMetricsServiceRequest.FromString(body)
            seen.metrics |= {
                metric.name
                for one in request.resource_metrics
                for scope in one.scope_metrics
                for metric in scope.metrics
            }
            answer = ExportMetricsServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def _spans(request: ExportTraceServiceRequest) -> list[SeenSpan]:
    return [
        SeenSpan(
            service=next(item.value.string_value for item in one.resource.attributes if item.key == "service.name"),
            name=span.name,
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            attributes={item.key: _value(item.value) for item in span.attributes},
            links=tuple(link.trace_id.hex() for link in span.links),
            status=span.status.message,
        )
        for one in request.resource_spans
        for scope in one.scope_spans
        for span in scope.spans
    ]


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)
