"""A running Cohort for the suite: `cohort up` on free ports, and a second front door and worker beside it."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from bench.isolation.provider import KEY, MODEL, Provider
from bench.stack import free_ports, running

HIDDEN_MODEL = "model-of-a"
PRICED_MODEL = "openai/gpt-4o-mini"
"""A model with a price that LiteLLM knows; the provider answers for it."""
HIDDEN_MODEL_GROUP = "acme-research"
READY_WITHIN = 60.0
_KEY_NAME = "BENCH_PROVIDER_KEY"


@dataclass(frozen=True)
class Cohort:
    """Where it answers, and the keys of the demo world's users."""

    doors: list[str]
    keys: Mapping[str, str]


@contextlib.contextmanager
def started(provider: Provider) -> Generator[Cohort]:
    """Start everything, end it afterwards."""
    route = {"model": PRICED_MODEL, "api_base": provider.url, "api_key_env": _KEY_NAME}
    routes = [{"name": MODEL, **route}, {"name": HIDDEN_MODEL, "groups": [HIDDEN_MODEL_GROUP], **route}]
    settings = {"COHORT_PROVIDERS": json.dumps(routes), _KEY_NAME: KEY}
    with running(**settings) as stack, contextlib.ExitStack() as ending:
        # Named by its module, as the supervisor starts it: what its processes are given is what a second one needs.
        door = next(p for p in psutil.Process(stack.pid).children(recursive=True) if "mcp_server.app" in p.cmdline())
        (port,) = free_ports(1)
        environment = {**door.environ(), "COHORT_PORT": str(port)}
        ending.enter_context(_process("activities.worker", environment, stack.home))
        ending.enter_context(_process("mcp_server.app", environment, stack.home))
        other = f"http://127.0.0.1:{port}"
        _wait(f"{other}/api/v1/health")
        yield Cohort([stack.url, other], stack.keys)


@contextlib.contextmanager
def _process(module: str, environment: Mapping[str, str], home: Path) -> Generator[None]:
    with (home / f"second-{module}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module], env={**environment, "PYTHONPATH": os.getcwd()}, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


def _wait(url: str) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5, trust_env=False).is_success:
                return
        time.sleep(0.2)
    raise SystemExit(f"The second front door did not start: {url} does not answer.")
