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
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from typing import Any

import uvloop
from opentelemetry import metrics
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.accept_ingests import AcceptIngests
from activities.admit import Admit
from activities.choose_routes import ChooseRoutes
from activities.complete import Complete
from activities.end_ingest import EndIngest
from activities.find_products import FindProducts
from activities.ingest_slice import IngestSlices
from activities.look_up import LookUp
from activities.providers.litellm_provider import LiteLLMProvider
from activities.providers.routes import RouteConfig, RouteStates, RouteTable
from activities.read_groups import ReadGroups
from activities.read_health import ReadHealth
from activities.read_jobs import ReadJobs
from activities.read_products import ReadProducts
from activities.refusals import Refusals
from activities.retrieve_documents import RetrieveDocuments
from activities.settle import Settle
from activities.settle_completion import SettleCompletion
from stack import telemetry
from stack.settings import BadSettings, Settings, provider_environment
from storage.answers import Answers
from storage.cache import Cache
from storage.embeddings import Embedder, MiniLm
from storage.idempotency import IdempotencyKeys
from storage.indexing import Indexer
from storage.pages import Pages
from storage.redis_link import RedisLink
from storage.secrets import Secrets
from storage.sql import Database
from storage.sweep import sweep
from storage.uploads import Uploads
from storage.vectors import Vectors
from workflows.calls import Calls
from workflows.completion import Completion
from workflows.converter import data_converter
from workflows.ingest import Ingest
from workflows.ports import PROVIDER_QUEUE, TASK_QUEUE

READY = "cohort-worker ready"
"""The line on standard output by which a supervisor knows that this process polls."""
ROLES = ("workflows", "providers")
GRACE = timedelta(seconds=10)
"""How long activities may take to end once the worker is told to stop; providers are cut off after it and retried."""
SWEEP_SECONDS = 600
LOCAL_MODEL = "smollm2"
LOCAL_CONTEXT = 1_024
"""The local model could read four times as much, but reads some 200 tokens a second on one core: people wait for it."""

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

_log = logging.getLogger("cohort.worker")


@dataclass(frozen=True)
class Parts:
    """What the activities stand on, opened once a process."""

    database: Database
    redis: RedisLink
    cache: Cache
    secrets: Secrets
    uploads: Uploads
    vectors: Vectors
    embedder: Embedder
    routes: RouteTable
    states: RouteStates
    provider: LiteLLMProvider

    @classmethod
    async def open(
        cls,
        *,
        database_url: str,
        redis_url: str,
        vectors_url: str,
        uploads_url: str,
        secret: bytes,
        routes: Sequence[RouteConfig],
    ) -> "Parts":
        """Open them; SQL and Redis are connected when they are first used."""
        secrets, redis = Secrets(secret), RedisLink(redis_url)
        vectors, embedder = await asyncio.gather(Vectors.open(vectors_url), asyncio.to_thread(MiniLm.load))
        return cls(
            database=Database.open(database_url),
            redis=redis,
            cache=Cache(redis, secrets.key("cache")),
            secrets=secrets,
            uploads=Uploads(uploads_url),
            vectors=vectors,
            embedder=embedder,
            routes=RouteTable(routes),
            states=RouteStates(),
            provider=LiteLLMProvider(),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self.redis.close()
        await self.database.close()


def activities_of(parts: Parts) -> list[Callable[..., Any]]:
    """Every activity that workflows run beside themselves, or in the workflows' queue."""
    answers_key = parts.secrets.key("answers")
    keys, answers = IdempotencyKeys(answers_key), Answers(parts.database, answers_key)
    return [
        Admit(parts.database, keys, answers).run,
        LookUp(parts.database, parts.cache, parts.routes, answers).run,
        ReadGroups(parts.database).run,
        ReadHealth(
            parts.database, parts.redis, lambda: _vectors_answer(parts.vectors), parts.routes, parts.states, version()
        ).run,
        ReadJobs(parts.database).run,
        ReadProducts(
            parts.database,
            parts.vectors,
            parts.embedder,
            Pages(parts.secrets.key("pages")),
            parts.redis,
            answers,
        ).run,
        AcceptIngests(parts.database, parts.uploads).run,
        IngestSlices(parts.database, parts.uploads, Indexer(parts.database, parts.vectors, parts.embedder)).run,
        EndIngest(parts.database, parts.uploads, parts.vectors).run,
        RetrieveDocuments(parts.database, parts.vectors, parts.embedder).run,
        FindProducts(parts.database, parts.vectors, parts.embedder).run,
        ChooseRoutes(parts.database, parts.routes).run,
        Settle(parts.database, keys).run,
        SettleCompletion(parts.database, keys, parts.cache).run,
    ]


def workers_of(
    client: Client,
    parts: Parts,
    *,
    roles: Sequence[str] = ROLES,
    max_cached_workflows: int = 1_000,
    runner: WorkflowRunner | None = None,
) -> list[Worker]:
    """One worker a role: workflows with their activities, and provider calls, which may run elsewhere.

    Workflows run without Temporal's sandbox by default: it imports them anew for every execution, which costs a
    quarter of the worker's time. Every test runs them in `SANDBOX`, where what is not deterministic is an error.
    """
    made: list[Worker] = []
    if "workflows" in roles:
        made.append(
            Worker(
                client,
                task_queue=TASK_QUEUE,
                workflows=[Calls, Completion, Ingest],
                activities=activities_of(parts),
                interceptors=[Refusals()],
                workflow_runner=runner or UnsandboxedWorkflowRunner(),
                max_cached_workflows=max_cached_workflows,
                max_concurrent_workflow_tasks=64,
                max_concurrent_local_activities=64,
                max_concurrent_activities=8,
                graceful_shutdown_timeout=GRACE,
            )
        )
    if "providers" in roles:
        made.append(
            Worker(
                client,
                task_queue=PROVIDER_QUEUE,
                activities=[Complete(parts.routes, parts.provider, parts.states).run],
                interceptors=[Refusals()],
                max_concurrent_activities=64,
                graceful_shutdown_timeout=GRACE,
            )
        )
    return made


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


async def run(settings: Settings, roles: Sequence[str]) -> None:
    """Poll until SIGTERM or SIGINT; what is under way then gets `GRACE` to end."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    where = settings.resolved()
    exporting = telemetry.start("cohort-worker", settings.otlp_endpoint, version=version())
    parts = await Parts.open(
        database_url=where.database_url,
        redis_url=where.redis_url,
        vectors_url=where.vectors_url,
        uploads_url=where.uploads_url,
        secret=where.secret,
        routes=routes_of(settings),
    )
    try:
        client = await Client.connect(
            where.temporal_address,
            namespace=where.temporal_namespace,
            data_converter=data_converter(parts.secrets.key("payloads")),
            interceptors=exporting.interceptors,
        )
        _watch_cache(parts.cache)
        workers = workers_of(client, parts, roles=roles, max_cached_workflows=settings.max_cached_workflows)
        async with contextlib.AsyncExitStack() as polling:
            for worker in workers:
                await polling.enter_async_context(worker)
            sys.stdout.write(f"{READY}\n")
            sys.stdout.flush()
            if "providers" in roles:
                parts.provider.warm()
            sweeping = asyncio.create_task(_sweep(parts.database))
            await stop.wait()
            sweeping.cancel()
    finally:
        await parts.close()
        exporting.close()


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


def version() -> str:
    """The installed version."""
    try:
        return metadata.version("cohort")
    except metadata.PackageNotFoundError:
        return "0.0.0+source"


def _provider(model: str) -> str:
    """LiteLLM's own name of the provider; a model without one is OpenAI's."""
    prefix, slash, _ = model.partition("/")
    return prefix if slash else "openai"


async def _vectors_answer(vectors: Vectors) -> bool:
    try:
        await vectors.count("products")
    except (RuntimeError, OSError, ValueError):
        return False
    return True


async def _sweep(database: Database) -> None:
    """Delete what has outlived its time, every few minutes."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            async with database.write() as tx:
                await sweep(tx, time.time())
        except SQLAlchemyError as error:
            _log.warning("nothing was swept, the next try is in %d s: %s", SWEEP_SECONDS, type(error).__name__)


def _watch_cache(cache: Cache) -> None:
    """Hits by level and misses, for whoever collects metrics."""

    def observe(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        return [
            metrics.Observation(count, {"cohort.result": result}) for result, count in cache.counts.by_result.items()
        ]

    metrics.get_meter("cohort.cache").create_observable_counter("cohort.cache.lookups", callbacks=[observe])


if __name__ == "__main__":
    main()
