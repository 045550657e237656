"""`Ingest`: one upload into one group's products or documents, slice by slice, whatever crashes on the way."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityCancellationType

with workflow.unsafe.imports_passed_through():
    from domain.errors import CohortError, ErrorBody, ErrorCode
    from domain.ingestion import (
        EndStatus,
        IngestCounts,
        IngestEnd,
        IngestJob,
        IngestSlice,
        IngestStep,
        JobOutput,
        Progress,
    )
    from workflows import failures, ports, report
    from workflows.attributes import OUTCOME

SLICES_PER_RUN = 200
"""After so many slices the workflow goes on with a fresh history."""
REJECTS_KEPT = 1_000
ATTEMPT = timedelta(minutes=10)
HEARTBEAT = timedelta(seconds=10)
"""Without a sign of life for so long, a worker counts as dead and another one takes over."""

RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=30), maximum_attempts=20
)
"""A database or store that is away for some minutes costs time, not the ingestion."""


@workflow.defn
class Ingest:
    """Takes an upload in. Rows that were taken stay where it fails later on: running it again is cheap."""

    @workflow.run
    async def run(self, job: IngestJob, so_far: IngestStep | None = None) -> JobOutput:
        """The closed job. `so_far` is where an earlier run of this workflow stopped."""
        step = so_far or IngestStep(counts=IngestCounts(), next_offset=0, next_line=1, size=0, done=False)
        status: EndStatus = "completed"
        failure: ErrorBody | None = None
        try:
            for _ in range(SLICES_PER_RUN):
                _show(job, step)
                step = _after(step, await _slice(job, step))
                if step.done:
                    break
                if workflow.cancellation_reason() is not None:
                    raise asyncio.CancelledError  # it came too late for the slice
            else:
                workflow.continue_as_new(args=[job, step])
        except (ActivityError, asyncio.CancelledError) as error:
            status, failure = _stopped(error)
        # A cancellation is over with the slices: the job is closed whatever comes.
        end = IngestEnd(job=job, status=status, counts=step.counts, failure=failure)
        await ports.uncancelled(ports.end_ingest.lasting(end, limit=ATTEMPT, heartbeat=HEARTBEAT))
        _show(job, step, failure)
        workflow.upsert_search_attributes([OUTCOME.value_set(failure.code if failure else "answered")])
        progress = Progress(done=step.next_offset, total=step.size)
        return JobOutput(
            job_id=job.admitted.call.id, status=status, progress=progress, result=step.counts, error=failure
        )


async def _slice(job: IngestJob, step: IngestStep) -> IngestStep:
    return await workflow.execute_activity(
        ports.ingest_slice.name,
        IngestSlice(job=job, offset=step.next_offset, line=step.next_line),
        result_type=ports.ingest_slice.gives,
        start_to_close_timeout=ATTEMPT,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=RETRIES,
        # The job is not closed while its rows are still being written.
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


def _stopped(error: ActivityError | asyncio.CancelledError) -> tuple[EndStatus, ErrorBody]:
    if isinstance(error, ActivityError) and workflow.cancellation_reason() is None:
        return "failed", failures.body_of(error)
    ended = CohortError(
        ErrorCode.CONFLICT,
        "An operator ended the ingestion before the end of the file. The rows that were taken in until then stay. Send "
        "the file again to take in the rest.",
    )
    return "cancelled", ended.body()


def _after(before: IngestStep, step: IngestStep) -> IngestStep:
    """The step with the counts of all steps; of the refusals the first are kept."""
    one, other = before.counts, step.counts
    counts = IngestCounts(
        accepted=one.accepted + other.accepted,
        rejected=one.rejected + other.rejected,
        unchanged=one.unchanged + other.unchanged,
        deleted=one.deleted + other.deleted,
        rejects=(*one.rejects, *other.rejects)[:REJECTS_KEPT],
    )
    return step.model_copy(update={"counts": counts})


def _show(job: IngestJob, step: IngestStep, failure: ErrorBody | None = None) -> None:
    counts = step.counts
    kept = f"{counts.accepted} accepted, {counts.unchanged} unchanged, {counts.deleted} deleted"
    head = report.child_summary("Ingest", job.admitted.call, job.admitted.principal.billing_group)
    lines = [
        f"**{head}** (call `{job.admitted.call.id}`): {job.kind} of {job.input.group}",
        "",
        f"- {step.next_offset:,} of {step.size:,} bytes, next line {step.next_line:,}",
        f"- {kept}, {counts.rejected} rejected",
    ]
    if failure is not None:
        lines.append(f"- stopped ({failure.code.value}): {report.cell(failure.message)}")
    elif step.done:
        lines.append("- done")
    workflow.set_current_details("\n".join(lines))
