"""The worker's composition root: opens what the activities need, wires them, and polls until it is told to stop.

`python -m activities.worker [--roles workflows,providers]`
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta

import uvloop
from opentelemetry import metrics
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.complete import Complete
from activities.parts import Calling, Parts
from activities.providers.routes import RouteConfig, RouteTable
from activities.refusals import Refusals
from activities.wiring import activities_of, version
from stack import telemetry
from stack.settings import BadSettings, Resolved, Settings, provider_environment
from storage.cache import Cache
from storage.secrets import Secrets
from storage.sweep import sweep, sweep_uploads
from workflows.calls import Calls
from workflows.completion import Completion
from workflows.converter import data_converter
from workflows.ingest import Ingest
from workflows.ports import PROVIDER_QUEUE, TASK_QUEUE

READY = "cohort-worker ready"
"""The line on standard output by which a supervisor knows that this process polls."""
NOTICE = "cohort-worker notice: "
"""Begins a line about something that an operator must mend; `CHECKED` says that there are no more of them."""
CHECKED = "cohort-worker has looked at its routes"
ROLES = ("workflows", "providers")
GRACE = timedelta(seconds=10)
"""How long activities may take to end once the worker is told to stop; providers are cut off after it and retried."""
NOTICED_WITHIN = timedelta(seconds=2)
"""How late a cancellation may reach a provider call: it comes with the answer to a heartbeat."""
SWEEP_SECONDS = 600
LOCAL_MODEL = "smollm2"
LOCAL_CONTEXT = 640
"""The local model could read six times as much, but reads some 130 tokens a second on one core: people wait for it."""

SANDBOX = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules(
        "domain",
        "pydantic",
        "pydantic_core",
        "annotated_types",
        "typing_inspection",
        "workflows.attributes",
        "workflows.failures",
        "workflows.ports",
        "workflows.report",
    )
)
"""Runs workflows so that a clock, a random number or a file in one is an error; pure modules are shared."""

WORKFLOW_TASKS = 64
"""Workflows that a worker moves on at a time."""

_log = logging.getLogger("cohort.worker")


def workflow_worker(
    client: Client, parts: Parts, *, max_cached_workflows: int = 1_000, runner: WorkflowRunner | None = None
) -> Worker:
    """Workflows, and the activities beside them.

    Workflows run without Temporal's sandbox by default: it imports them anew for every execution, which costs a
    quarter of the worker's time. Every test runs them in `SANDBOX`, where what is not deterministic is an error.
    """
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[Calls, Completion, Ingest],
        activities=activities_of(parts),
        interceptors=[Refusals()],
        workflow_runner=runner or UnsandboxedWorkflowRunner(),
        max_cached_workflows=max_cached_workflows,
        # A task of another workflow than the cache holds would end a workflow's local activities to make room.
        max_concurrent_workflow_tasks=min(WORKFLOW_TASKS, max(max_cached_workflows, 1)),
        max_concurrent_local_activities=64,
        max_concurrent_activities=8,
        graceful_shutdown_timeout=GRACE,
    )


def provider_worker(client: Client, calling: Calling) -> Worker:
    """Provider calls, which may run on machines of their own, without any storage."""
    return Worker(
        client,
        task_queue=PROVIDER_QUEUE,
        activities=[Complete(calling.routes, calling.provider, calling.states).run],
        interceptors=[Refusals()],
        max_concurrent_activities=64,
        max_heartbeat_throttle_interval=NOTICED_WITHIN,
        graceful_shutdown_timeout=GRACE,
    )


def routes_of(settings: Settings) -> list[RouteConfig]:
    """The routes in the order of trying: COHORT_MODEL, then COHORT_PROVIDERS, then the local model where it runs."""
    routes: list[RouteConfig] = []
    if settings.model is not None:
        routes.append(RouteConfig(name=settings.model, provider=_provider(settings.model), model=settings.model))
    routes += [
        RouteConfig(
            name=one.name,
            provider=_provider(one.model),
            model=one.model,
            api_base=one.api_base,
            api_key_env=one.api_key_env,
            timeout=one.timeout,
            context_tokens=one.context_tokens,
            groups=tuple(one.groups),
        )
        for one in settings.providers
    ]
    if settings.local_llm_url is not None:
        routes.append(
            RouteConfig(
                name="local",
                provider="local",
                model=f"openai/{LOCAL_MODEL}",
                api_base=settings.local_llm_url,
                api_key_env="COHORT_LOCAL_LLM_KEY",
                timeout=120,
                context_tokens=LOCAL_CONTEXT,
                free=True,
            )
        )
    return routes


async def keep_swept(parts: Parts, seconds: float = SWEEP_SECONDS) -> None:
    """Delete what has outlived its time, every few minutes, whatever fails meanwhile."""
    while True:
        await asyncio.sleep(seconds)
        try:
            async with parts.database.write() as tx:
                await sweep(tx, time.time())
            await sweep_uploads(parts.database, parts.uploads)
        except (SQLAlchemyError, OSError) as error:
            _log.warning("not all was swept, the next try is in %d s: %s", seconds, type(error).__name__)


async def run(settings: Settings, roles: Sequence[str]) -> None:
    """Poll until SIGTERM or SIGINT; what is under way then gets `GRACE` to end."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    where = settings.resolved()
    exporting = telemetry.start("cohort-worker", settings.otlp_endpoint, version=version())
    calling = Calling(RouteTable(routes_of(settings)))
    async with contextlib.AsyncExitStack() as ending:
        ending.callback(exporting.close)
        client = await Client.connect(
            where.temporal_address,
            namespace=where.temporal_namespace,
            data_converter=data_converter(Secrets(where.secret).key("payloads")),
            interceptors=exporting.interceptors,
        )
        workers: list[Worker] = []
        if "providers" in roles:
            workers.append(provider_worker(client, calling))
        if "workflows" in roles:
            parts = await _opened(where, calling)
            ending.push_async_callback(parts.close)
            _watch_cache(parts.cache)
            workers.append(workflow_worker(client, parts, max_cached_workflows=settings.max_cached_workflows))
            sweeping = asyncio.create_task(keep_swept(parts))
            ending.callback(sweeping.cancel)
        for worker in workers:
            await ending.enter_async_context(worker)
        _tell(READY)
        if "providers" in roles:
            # A thread that nobody waits for: LiteLLM takes seconds to import, and may be stopped meanwhile.
            threading.Thread(target=_look_at_routes, args=[calling], name="look-at-routes", daemon=True).start()
        await stop.wait()


async def _opened(where: Resolved, calling: Calling) -> Parts:
    return await Parts.open(
        database_url=where.database_url,
        redis_url=where.redis_url,
        vectors_url=where.vectors_url,
        uploads_url=where.uploads_url,
        secret=where.secret,
        calling=calling,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: `--roles workflows,providers` says which queues to poll, both by default."""
    parser = argparse.ArgumentParser(prog="python -m activities.worker", description="Cohort's worker.")
    parser.add_argument("--roles", default=",".join(ROLES), help="comma-separated: " + ", ".join(ROLES))
    roles = parser.parse_args(arguments).roles.split(",")
    if not set(roles) <= set(ROLES):
        sys.exit(f"--roles takes {' and '.join(ROLES)}, separated by a comma.")
    try:
        settings = Settings.load()
        logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
        for name, value in provider_environment().items():
            os.environ.setdefault(name, value)
        uvloop.run(run(settings, roles))
    except (BadSettings, RPCError, RuntimeError) as error:
        sys.exit(f"The worker cannot run: {error}")


def _look_at_routes(calling: Calling) -> None:
    """Say which routes cannot work as they are set up, before a caller meets them."""
    try:
        for name, why in calling.provider.faults(calling.routes).items():
            calling.states.note(name, "broken")
            _tell(NOTICE + why)
    finally:
        _tell(CHECKED)


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _provider(model: str) -> str:
    """LiteLLM's own name of the provider; a model without one is OpenAI's."""
    prefix, slash, _ = model.partition("/")
    return prefix if slash else "openai"


def _watch_cache(cache: Cache) -> None:
    """Hits by level and misses, for whoever collects metrics."""

    def observe(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        return [
            metrics.Observation(count, {"cohort.result": result}) for result, count in cache.counts.by_result.items()
        ]

    metrics.get_meter("cohort.cache").create_observable_counter("cohort.cache.lookups", callbacks=[observe])


if __name__ == "__main__":
    main()
