"""A small world for workflow tests: three groups, their people, real storage, real workers, a test provider."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, Interceptor, WorkflowHandle
from temporalio.worker import WorkflowRunner

from activities.parts import Parts
from activities.providers.routes import RouteConfig
from activities.worker import SANDBOX, provider_worker, workflow_worker
from domain.calls import BatchOutcome, Call, CallBatch, Caller, CallLabels, Outcome
from domain.ids import new_id
from domain.policy import Level
from mcp_server.administration import ADMINISTRATION
from mcp_server.dispatch import Dispatcher
from mcp_server.engine import TemporalEngine
from storage import documents, groups, migrate
from storage.documents import NewDocument
from storage.indexing import Indexer
from tests.support.environment import cached_workflows
from tests.support.provider import KEY, Provider
from workflows import report
from workflows.attributes import attributes_of
from workflows.converter import data_converter
from workflows.ports import TASK_QUEUE, TASK_TIMEOUT

SECRET = bytes(range(32))
KEY_ENV = "TEST_PROVIDER_KEY"
FAMILY_OF = {
    "completions_create": "completions",
    "products_search": "products",
    "products_get": "products",
    "groups_list": "groups",
    "groups_permissions": "groups",
    "health_check": "health",
    "products_ingest": "ingestion",
    "jobs_get": "jobs",
    **{operation.name: operation.family for operation in ADMINISTRATION},
}
PERMISSION_OF = {
    "completions_create": "completions:create",
    "products_search": "products:read",
    "products_get": "products:read",
    "products_ingest": "products:write",
    **{operation.name: operation.permission for operation in ADMINISTRATION},
}


def route(provider: Provider, name: str, *, model: str | None = None, timeout: float = 20) -> RouteConfig:
    """A route to the test provider whose manner is the model's name, by default the route's own."""
    return RouteConfig(
        name=name,
        provider="tester",
        model=f"openai/{model or name}",
        api_base=provider.url,
        api_key_env=KEY_ENV,
        timeout=timeout,
    )


@dataclass
class World:
    """What a test talks to."""

    client: Client
    parts: Parts
    keys: Mapping[str, str]
    """Key ids by user."""

    def call(
        self,
        user: str,
        operation: str,
        input: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        seconds: float = 30,
        context: str | None = None,
        override: str | None = None,
        traceparent: str | None = None,
        permission: str | None = None,
    ) -> Call:
        """A call as a door makes it."""
        id = new_id()
        return Call(
            id=id,
            operation=operation,
            permission=permission or PERMISSION_OF.get(operation),
            caller=Caller(key_id=self.keys[user], user_id=user, context=context, override=override),
            labels=CallLabels(request_id=f"req-{id}", correlation_id=f"cor-{id}", traceparent=traceparent),
            input=dict(input or {}),
            idempotency_key=idempotency_key,
            deadline=time.time() + seconds,
        )

    def ask(self, user: str, prompt: str, **more: Any) -> Call:
        """A completion without retrieval, unless `retrieval` or `products` say otherwise."""
        options = {
            key: more.pop(key) for key in ("idempotency_key", "seconds", "context", "traceparent") if key in more
        }
        plain = {"retrieval": {"enabled": False}, "products": {"enabled": False}}
        return self.call(user, "completions_create", {"prompt": prompt, **plain, **more}, **options)

    async def start(self, calls: Sequence[Call], lane: str = "acme-research") -> WorkflowHandle[Any, BatchOutcome]:
        """Start a batch as a door does."""
        batch = CallBatch(family=FAMILY_OF.get(calls[0].operation, "unheard-of"), lane=lane, calls=tuple(calls))
        return await self.client.start_workflow(
            "Calls",
            batch,
            id=f"calls-{lane}-{calls[0].id}",
            task_queue=TASK_QUEUE,
            task_timeout=TASK_TIMEOUT,
            result_type=BatchOutcome,
            static_summary=report.batch_summary(batch),
            search_attributes=attributes_of(batch.calls, lane, batch.family),
        )

    async def batch(self, *calls: Call, lane: str = "acme-research") -> list[Outcome]:
        """The outcomes of one batch, as `Calls` gives them."""
        handle = await self.start(calls, lane)
        return list((await asyncio.wait_for(handle.result(), 60)).outcomes)

    async def final(self, outcome: Outcome) -> Outcome:
        """What a deferred outcome becomes."""
        if outcome.deferred is None:
            return outcome
        handle = self.client.get_workflow_handle(outcome.deferred, result_type=Outcome)
        return await asyncio.wait_for(handle.result(), 90)

    async def answer(self, call: Call, lane: str = "acme-research") -> Outcome:
        """The final outcome of one call."""
        [outcome] = await self.batch(call, lane=lane)
        return await self.final(outcome)

    async def at_door(self, call: Call, lane: str = "acme-research") -> Outcome:
        """The final outcome of one call as a door gets it, with all that it waits for on the way."""

        async def connected() -> Client:
            return self.client

        return await Dispatcher(TemporalEngine(connected)).call(call, FAMILY_OF[call.operation], lane)

    async def details(self, workflow_id: str) -> str:
        """What an operator reads of an execution in the Temporal UI."""
        handle = self.client.get_workflow_handle(workflow_id)
        told: Any = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        return str(told.current_details)

    async def upload(self, user: str, content: bytes) -> str:
        """The id of an upload of this user."""

        async def once() -> AsyncIterator[bytes]:
            yield content

        return (await self.parts.uploads.of(user).write(once())).id

    async def add_document(self, owner: str, id: str, text: str, level: Level = Level.INTERNAL) -> None:
        """Put a document into SQL and the vector store."""
        async with self.parts.database.write() as tx:
            row = NewDocument(id=id, title=f"About {id}", source=f"{id}.md", text=text, access_level=level)
            await documents.upsert(tx, owner, [row])
        indexer = Indexer(self.parts.database, self.parts.vectors, self.parts.embedder)
        await indexer.documents(owner, [id])


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    *,
    temporal: str,
    redis_url: str,
    routes: Sequence[RouteConfig],
    interceptors: Sequence[Interceptor] = (),
    max_cached_workflows: int | None = None,
    runner: WorkflowRunner = SANDBOX,
) -> AsyncGenerator[World]:
    """A fresh database below `folder`, and workers that poll until the block ends."""
    os.environ[KEY_ENV] = KEY
    database_url = f"sqlite+aiosqlite:///{folder / 'cohort.db'}"
    await migrate.upgrade(database_url)
    parts = await Parts.open(
        database_url=database_url,
        redis_url=redis_url,
        vectors_url=str(folder / "vectors"),
        uploads_url=str(folder / "uploads"),
        secret=SECRET,
        routes=routes,
    )
    try:
        keys = await _people(parts)
        client = await Client.connect(
            temporal, data_converter=data_converter(parts.secrets.key("payloads")), interceptors=list(interceptors)
        )
        cached = cached_workflows() if max_cached_workflows is None else max_cached_workflows
        async with contextlib.AsyncExitStack() as polling:
            await polling.enter_async_context(provider_worker(client, parts.calling))
            await polling.enter_async_context(
                workflow_worker(client, parts, max_cached_workflows=cached, runner=runner)
            )
            yield World(client=client, parts=parts, keys=keys)
    finally:
        await parts.close()


async def _people(parts: Parts) -> dict[str, str]:
    pepper = parts.secrets.key("api-keys")
    shared = ["completions:create", "products:read"]
    async with parts.database.write() as tx:
        await groups.create_group(tx, "acme", name="Acme", shared_permissions=shared)
        await groups.create_group(
            tx,
            "acme-research",
            name="Research",
            parent="acme",
            access_level=Level.CONFIDENTIAL,
            permissions=["products:write"],
        )
        await groups.create_group(tx, "acme-sales", name="Sales", parent="acme")
        await groups.create_group(tx, "partner", name="Partner", access_level=Level.PUBLIC, permissions=shared)
        await groups.create_group(tx, "silent", name="Silent")
        homes = {
            "ada": "acme-research",
            "grace": "acme-research",
            "sam": "acme-sales",
            "pat": "partner",
            "mute": "silent",
        }
        for user, group in homes.items():
            await groups.create_user(tx, user, primary_group=group)
        return {user: (await groups.create_key(tx, user, pepper=pepper)).id for user in homes}
