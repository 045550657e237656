"""Traces and metrics over OTLP, for the front door and the worker. Without an endpoint nothing is loaded or measured.

What leaves the process is an allow-list: names, ids, counts and durations; no prompt, answer, key or error text.
"""

from collections.abc import Callable
from dataclasses import dataclass

from temporalio.client import Interceptor


@dataclass(frozen=True)
class Telemetry:
    """What was set up: interceptors for the Temporal client (a worker takes them over), and how to end it."""

    interceptors: tuple[Interceptor, ...] = ()
    close: Callable[[], None] = lambda: None

    @property
    def on(self) -> bool:
        """Whether anything is exported."""
        return bool(self.interceptors)


def start(service: str, endpoint: str | None, *, version: str = "") -> Telemetry:
    """Export the spans and metrics of this process to `endpoint` (OTLP over HTTP), as those of `service`.

    To be called once, before the Temporal client is made; `close` sends what is left, within some seconds.
    """
    if endpoint is None:
        return Telemetry()
    from stack import telemetry_export

    return telemetry_export.start(service, endpoint, version)
