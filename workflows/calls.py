"""`Calls`: a batch of one group's calls of one family, answered together; one bad call fails alone."""

import asyncio

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from domain.answers import Answered
    from domain.calls import Admissions, BatchOutcome, Call, CallBatch, Facts, Outcome, Settlement, Settlements, Work
    from domain.completions import CompletionJob
    from domain.errors import ErrorBody, internal
    from domain.ingestion import IngestJob
    from workflows import failures, ports, report
    from workflows.attributes import OUTCOME, attributes_of


@workflow.defn
class Calls:
    """Admit the batch, answer what can be answered at once, start what goes on alone, write everything down."""

    @workflow.init
    def __init__(self, batch: CallBatch) -> None:
        self._batch = batch
        self._ended: dict[str, Outcome] = {}
        self._facts: dict[str, Facts] = {}
        self._started: set[str] = set()

    @workflow.run
    async def run(self, batch: CallBatch) -> BatchOutcome:
        """One outcome a call, in the order of the calls, whatever fails."""
        self._show()
        admissions = await self._admit() if batch.family in ports.FAMILIES else self._unknown()
        answered = await self._answer(admissions)
        await self._start(answered)
        await self._settle(admissions)
        self._show()
        return BatchOutcome(outcomes=tuple(self._ended[call.id] for call in batch.calls))

    async def _admit(self) -> Admissions:
        """Who may go on, read in one snapshot; the others end here."""
        try:
            admissions = await ports.admit.local(self._batch, summary="who may, and what was asked before")
        except failures.FAILED as error:
            self._fail(self._batch.calls, failures.body_of(error))
            return Admissions()
        self._facts = dict(admissions.known)
        for id, place in admissions.admitted.items():
            self._facts[id] = Facts.of(admissions.principals[place])
        self._ended |= {
            id: Outcome(call_id=id, error=error, facts=self._facts.get(id)) for id, error in admissions.refused.items()
        }
        self._ended |= admissions.replayed
        return admissions

    def _unknown(self) -> Admissions:
        """A door that is newer than this worker: nobody is kept waiting for a worker that knows the family."""
        workflow.logger.error("no activity answers the family %r", self._batch.family)
        self._fail(self._batch.calls, internal().body())
        return Admissions()

    async def _answer(self, admissions: Admissions) -> Answered:
        """Answer the admitted calls together, in the activity of their family."""
        calls = tuple(call for call in self._batch.calls if call.id in admissions.admitted)
        work = Work(calls=calls, principals=admissions.principals, principal_of=admissions.admitted)
        if not calls:
            return Answered(outcomes=())
        try:
            answered = await ports.FAMILIES[self._batch.family].local(
                work, seconds=20, summary=report.batch_summary(self._batch)
            )
        except failures.FAILED as error:
            self._fail(calls, failures.body_of(error))
            return Answered(outcomes=())
        self._ended |= {outcome.call_id: outcome for outcome in answered.outcomes}
        self._fail([call for call in calls if call.id not in self._ended], internal().body())
        return answered

    async def _start(self, answered: Answered) -> None:
        """Start what goes on in workflows of its own, and let go of it: the door waits for those by their ids."""
        completions = [self._child("Completion", f"completion-{_call(job).id}", job) for job in answered.completions]
        ingests = [self._child("Ingest", f"ingest-{_call(job).id}", job) for job in answered.ingests]
        await asyncio.gather(*completions, *ingests)

    async def _child(self, name: str, id: str, job: CompletionJob | IngestJob) -> None:
        call, principal = job.admitted.call, job.admitted.principal
        try:
            await workflow.start_child_workflow(
                name,
                # all arguments of `run`, also those with a default: the types of a shorter list are not looked at
                args=[job] if isinstance(job, CompletionJob) else [job, None],
                id=id,
                parent_close_policy=ParentClosePolicy.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                execution_timeout=ports.CHILD_LIMIT if isinstance(job, CompletionJob) else None,
                task_timeout=ports.TASK_TIMEOUT,
                static_summary=report.child_summary(name, call, principal.billing_group),
                search_attributes=attributes_of((call,), principal.billing_group, self._batch.family),
            )
        except WorkflowAlreadyStartedError:
            pass  # an earlier run of this batch started it: the outcome already points to it
        except ChildWorkflowError as error:
            workflow.logger.error("could not start %s: %s", id, error)
            self._fail([call], internal().body())
            return
        self._started.add(call.id)

    async def _settle(self, admissions: Admissions) -> None:
        """Write down how each call ended; what could not be written down is not answered, unless it goes on alone."""
        principals = {id: admissions.principals[place] for id, place in admissions.admitted.items()}
        items = tuple(
            Settlement(call=call, outcome=_brief(call, self._ended[call.id]), principal=principals.get(call.id))
            for call in self._batch.calls
            # What goes on elsewhere is written down there; here only where repeated requests find it.
            if self._ended[call.id].deferred is None or call.id not in principals or call.idempotency_key
        )
        try:
            if items:
                await ports.settle.local(
                    Settlements(items=items, lane=self._batch.lane), attempts=5, summary="audit and ledger"
                )
        except failures.FAILED:
            # What was started is written down by its own workflow, and to deny it would have it started again.
            lost = [item.call for item in items if item.outcome.deferred is None and item.call.id not in self._started]
            self._fail(lost, internal().body())

    def _fail(self, calls: "list[Call] | tuple[Call, ...]", error: ErrorBody) -> None:
        self._ended |= {
            call.id: Outcome(call_id=call.id, error=error, facts=self._facts.get(call.id)) for call in calls
        }

    def _show(self) -> None:
        workflow.set_current_details(report.batch_details(self._batch, self._ended))
        worst = next((end.error.code for end in self._ended.values() if end.error is not None), None)
        if worst is not None:
            workflow.upsert_search_attributes([OUTCOME.value_set(worst)])


def _call(job: CompletionJob | IngestJob) -> Call:
    return job.admitted.call


def _brief(call: Call, outcome: Outcome) -> Outcome:
    """The outcome as far as it is written down: the data only where a repeated request may ask for them."""
    return outcome if call.idempotency_key else outcome.model_copy(update={"data": None, "pagination": None})
