"""The activities that workflows call, by name and type; `activities/` implements each under the same name.

A local activity is short and cheap (one snapshot, one round trip) and runs inside the workflow's own worker task; an
activity that calls a provider or needs retries, heartbeats or rate limits is a regular one.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError

from domain.answers import Answered
from domain.calls import Admissions, CallBatch, Settled, Settlements, Work
from domain.completions import (
    CompletionJob,
    CompletionSettlement,
    CompletionTask,
    ProviderAnswer,
    Routes,
    Sources,
)
from domain.ingestion import IngestEnd, IngestSlice, IngestStep

Takes = TypeVar("Takes", bound=BaseModel)
Gives = TypeVar("Gives", bound=BaseModel)
Result = TypeVar("Result")

TASK_QUEUE = "cohort"
PROVIDER_QUEUE = "cohort-providers"

TASK_TIMEOUT = timedelta(seconds=5)
"""How long a worker may be silent on a workflow task before another gets it: what a killed worker costs a caller."""

CHILD_LIMIT = timedelta(hours=1)
"""No completion lives longer, whatever its provider or the database does."""

REFUSED = "CohortError"
"""The type of the application error that a `CohortError` of an activity becomes; its one detail is the `ErrorBody`."""


@dataclass(frozen=True)
class Port(Generic[Takes, Gives]):
    """An activity as a workflow sees it."""

    name: str
    takes: type[Takes]
    gives: type[Gives]

    async def local(self, given: Takes, *, seconds: float = 10, attempts: int = 3, summary: str | None = None) -> Gives:
        """Run it as a local activity; `seconds` bounds all attempts together."""
        return await workflow.execute_local_activity(
            self.name,
            given,
            result_type=self.gives,
            schedule_to_close_timeout=timedelta(seconds=seconds),
            retry_policy=RetryPolicy(maximum_attempts=attempts, initial_interval=timedelta(milliseconds=50)),
            summary=summary,
        )

    async def lasting(
        self,
        given: Takes,
        *,
        limit: timedelta = timedelta(minutes=1),
        heartbeat: timedelta | None = None,
        summary: str | None = None,
    ) -> Gives:
        """Run it as a regular activity until it succeeds, for as long as the workflow lives; `limit` is one attempt's.

        The pause between two attempts stays short, since what it waits for is mostly a database that is away.
        """
        return await workflow.execute_activity(
            self.name,
            given,
            result_type=self.gives,
            start_to_close_timeout=limit,
            heartbeat_timeout=heartbeat,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10)
            ),
            summary=summary,
        )

    async def surely(self, given: Takes, *, summary: str | None = None) -> Gives:
        """Run it until it succeeds: first as a local activity, which is cheap, then as a lasting one."""
        try:
            return await self.local(given, summary=summary)
        except FailureError:
            return await self.lasting(given, summary=summary)


async def uncancelled(doing: Coroutine[Any, Any, Result]) -> Result:
    """Wait for the end of `doing`, also where an operator cancels the workflow meanwhile."""
    task = asyncio.create_task(doing)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()


admit: Port[CallBatch, Admissions] = Port("admit", CallBatch, Admissions)
settle: Port[Settlements, Settled] = Port("settle", Settlements, Settled)

look_up: Port[Work, Answered] = Port("look_up", Work, Answered)
read_products: Port[Work, Answered] = Port("read_products", Work, Answered)
read_groups: Port[Work, Answered] = Port("read_groups", Work, Answered)
read_health: Port[Work, Answered] = Port("read_health", Work, Answered)
accept_ingests: Port[Work, Answered] = Port("accept_ingests", Work, Answered)
read_jobs: Port[Work, Answered] = Port("read_jobs", Work, Answered)
administer: Port[Work, Answered] = Port("administer", Work, Answered)

FAMILIES: dict[str, Port[Work, Answered]] = {
    "completions": look_up,
    "products": read_products,
    "groups": read_groups,
    "health": read_health,
    "ingestion": accept_ingests,
    "jobs": read_jobs,
    "administration": administer,
}
"""The activity that answers each family of operations, after admission."""

retrieve_documents: Port[CompletionJob, Sources] = Port("retrieve_documents", CompletionJob, Sources)
find_products: Port[CompletionJob, Sources] = Port("find_products", CompletionJob, Sources)
choose_routes: Port[CompletionJob, Routes] = Port("choose_routes", CompletionJob, Routes)
complete: Port[CompletionTask, ProviderAnswer] = Port("complete", CompletionTask, ProviderAnswer)
settle_completion: Port[CompletionSettlement, Settled] = Port("settle_completion", CompletionSettlement, Settled)

ingest_slice: Port[IngestSlice, IngestStep] = Port("ingest_slice", IngestSlice, IngestStep)
end_ingest: Port[IngestEnd, Settled] = Port("end_ingest", IngestEnd, Settled)
