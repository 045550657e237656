"""`Completion`: one call that the cache could not answer, from retrieval to the ledger."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from domain.calls import Facts, Outcome, Settlement, Settlements
    from domain.completions import (
        CompletionInput,
        CompletionJob,
        CompletionOutput,
        CompletionSettlement,
        CompletionTask,
        CompletionUsage,
        ProviderAnswer,
        Route,
        Source,
    )
    from domain.errors import CohortError, ErrorCode
    from domain.prompt import citations
    from workflows import failures, ports, report
    from workflows.attributes import OUTCOME

HEARTBEAT = timedelta(seconds=15)
"""Without a sign of life for so long, the worker that calls the provider counts as dead and another one takes over."""
ATTEMPTS = 2
"""How often one route is tried before the next one."""
ANSWERING = 3.0
"""Seconds before the call's deadline that no provider gets: to write down how it ended, and to say so."""


@workflow.defn
class Completion:
    """Retrieve, choose a route, ask the provider, write down, answer. Its result is the call's final outcome."""

    @workflow.init
    def __init__(self, job: CompletionJob) -> None:
        self._job = job
        self._call = job.admitted.call
        self._asked = CompletionInput.model_validate(job.admitted.call.input)
        self._facts = Facts.of(job.admitted.principal)
        self._report = report.CompletionReport(self._call, job.admitted.principal.billing_group)

    @workflow.run
    async def run(self, job: CompletionJob) -> Outcome:
        """The outcome: data, or an error that the caller may see."""
        self._show()
        try:
            sources = await self._retrieve()
            answer = await self._ask(sources)
            outcome = await self._settle(answer)
        except CohortError as error:
            outcome = await self._settle_failure(error)
        except failures.FAILED as error:
            outcome = await self._settle_failure(CohortError.of(failures.body_of(error)))
        except asyncio.CancelledError:
            outcome = await self._settle_failure(CohortError.of(failures.cancelled()))
        self._report.ended(outcome)
        self._show()
        workflow.upsert_search_attributes([OUTCOME.value_set(outcome.error.code if outcome.error else "answered")])
        return outcome

    async def _retrieve(self) -> tuple[Source, ...]:
        """Documents, then products, each filtered by what the caller may see."""
        found: tuple[Source, ...] = ()
        if self._asked.retrieval.enabled:
            found += (await ports.retrieve_documents.local(self._job, seconds=20, summary="documents")).items
        if self._asked.products.enabled:
            found += (await ports.find_products.local(self._job, seconds=20, summary="products")).items
        self._report.found(found)
        return found

    async def _ask(self, sources: tuple[Source, ...]) -> ProviderAnswer:
        """The first route that answers, in the order of the group's preference."""
        routes = await ports.choose_routes.local(self._job, summary="which providers to try")
        self._report.chose(routes)
        self._show()
        failed = CohortError(ErrorCode.PROVIDER_UNAVAILABLE, "No provider is set up that your group may use.")
        for route in routes.items:
            try:
                answer = await self._call_provider(route, sources)
            except failures.FAILED as error:
                failed = self._why(error)
                if failed.code is not ErrorCode.PROVIDER_UNAVAILABLE:
                    raise failed from error
                self._report.fell_back(route, failed.message)
                self._show()
            else:
                self._report.answered(route, answer)
                return answer
        raise failed

    async def _call_provider(self, route: Route, sources: tuple[Source, ...]) -> ProviderAnswer:
        left = self._call.deadline - workflow.now().timestamp()
        if left <= 0:
            raise _too_late()
        left -= min(ANSWERING, left / 10)
        task = CompletionTask(
            call_id=self._call.id,
            input=self._asked,
            sources=sources,
            route=route.model_copy(update={"timeout": min(route.timeout, left)}),
            traceparent=self._call.labels.traceparent,
        )
        return await workflow.execute_activity(
            ports.complete.name,
            task,
            result_type=ports.complete.gives,
            task_queue=ports.PROVIDER_QUEUE,
            start_to_close_timeout=timedelta(seconds=min(left, route.timeout + 2)),
            schedule_to_close_timeout=timedelta(seconds=min(left, route.timeout * ATTEMPTS + 10)),
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RetryPolicy(maximum_attempts=ATTEMPTS, initial_interval=timedelta(milliseconds=300)),
            summary=f"{route.name}: {route.model}"[:100],
        )

    def _why(self, error: FailureError) -> CohortError:
        if failures.cut_off(error):
            return CohortError(
                ErrorCode.PROVIDER_UNAVAILABLE,
                "The model's provider did not answer in time. No cost was booked. Try again, or name another model.",
            )
        return CohortError.of(failures.body_of(error))

    async def _settle(self, answer: ProviderAnswer) -> Outcome:
        """Ledger, audit, idempotency and cache in one step; what could not be written down is not answered."""
        output = CompletionOutput(
            id=f"completion-{self._call.id}",
            text=answer.text,
            finish_reason=answer.finish_reason,
            citations=citations(answer.text, answer.given),
            usage=CompletionUsage(
                prompt_tokens=answer.usage.prompt_tokens, completion_tokens=answer.usage.completion_tokens
            ),
        )
        provenance = tuple(dict.fromkeys(source.provenance() for source in answer.given))
        settlement = CompletionSettlement(job=self._job, output=output, usage=answer.usage, provenance=provenance)
        # The answer has been paid for: neither a database that is away nor a cancellation may lose its row.
        await ports.uncancelled(ports.settle_completion.surely(settlement, summary="ledger, audit, cache"))
        return Outcome(
            call_id=self._call.id,
            data=output.model_dump(mode="json", by_alias=True),
            facts=self._facts,
            usage=answer.usage,
            provenance=provenance,
        )

    async def _settle_failure(self, error: CohortError) -> Outcome:
        """Audit, and release of the idempotency key, so that the same request may be tried again."""
        outcome = Outcome(call_id=self._call.id, error=error.body(), facts=self._facts)
        settlement = Settlement(call=self._call, outcome=outcome, principal=self._job.admitted.principal)
        await ports.uncancelled(ports.settle.surely(Settlements(items=(settlement,)), summary="audit"))
        return outcome

    def _show(self) -> None:
        workflow.set_current_details(str(self._report))


def _too_late() -> CohortError:
    return CohortError(
        ErrorCode.DEADLINE_EXCEEDED,
        "No provider answered before the request's deadline. No cost was booked. Try again, or ask for less.",
    )
