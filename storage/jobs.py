"""Long-running calls as their callers follow them. Kept for 30 days. A job ends once, and stays as it ended."""

import time
from dataclasses import dataclass
from typing import get_args

from sqlalchemy import case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import ErrorBody, not_found
from domain.ingestion import EndStatus, IngestCounts, JobOutput, JobStatus, Progress
from domain.policy import Principal
from storage.tables import JOBS
from storage.upserts import insert

LIFETIME = 30 * 24 * 3600
"""Seconds for which a job is kept after its last change."""
ENDED = get_args(EndStatus)


@dataclass(frozen=True)
class NewJob:
    """A job to be followed. `id` is its call's; `total` is in bytes or items, 0 where it is not known yet.

    `target_group` is the group whose objects the job is about, `upload_id` the upload that it takes in.
    """

    id: str
    kind: str
    user_id: str
    billing_group: str
    target_group: str
    status: JobStatus = "queued"
    total: int = 0
    upload_id: str | None = None


async def create(tx: AsyncConnection, job: NewJob, *, now: float | None = None) -> None:
    """Add a job; one that is there already stays as it is."""
    moment = time.time() if now is None else now
    row = {
        "id": job.id,
        "kind": job.kind,
        "user_id": job.user_id,
        "billing_group": job.billing_group,
        "target_group": job.target_group,
        "upload_id": job.upload_id,
        "status": job.status,
        "done": 0,
        "total": job.total,
        "created_at": moment,
        "updated_at": moment,
        "expires_at": moment + LIFETIME,
    }
    await tx.execute(insert(tx, JOBS).values(row).on_conflict_do_nothing(index_elements=["id"]))


async def update(
    tx: AsyncConnection,
    job_id: str,
    *,
    status: JobStatus,
    progress: Progress | None = None,
    result: IngestCounts | None = None,
    error: ErrorBody | None = None,
    now: float | None = None,
) -> bool:
    """Note where a job stands; what is None stays as it was, and progress never goes back.

    False, and nothing was noted: the job has ended, or there is none. Until the transaction ends, nobody else ends it.
    """
    moment = time.time() if now is None else now
    values: dict[str, object] = {"status": status, "updated_at": moment, "expires_at": moment + LIFETIME}
    if progress is not None:
        further = case((JOBS.c.done > progress.done, JOBS.c.done), else_=progress.done)
        values |= {"done": further, "total": progress.total}
    if result is not None:
        values["result"] = result.model_dump(mode="json")
    if error is not None:
        values["error"] = error.model_dump(mode="json")
    statement = JOBS.update().where(JOBS.c.id == job_id, JOBS.c.status.not_in(ENDED)).values(values)
    return (await tx.execute(statement)).rowcount == 1


async def get(tx: AsyncConnection, principal: Principal, job_id: str, *, now: float | None = None) -> JobOutput:
    """A job of the caller's in a group that is his now, or one billed to a group that he administers.

    A result names objects of the target group, so whoever has left that group, or asks with a key or in a context
    without it, gets no more of it than a stranger.

    Raises:
        CohortError: `not_found`, alike for a job that does not exist and for one that is not his to see.
    """
    moment = time.time() if now is None else now
    statement = select(JOBS).where(JOBS.c.id == job_id, JOBS.c.expires_at > moment)
    row = (await tx.execute(statement)).one_or_none()
    if row is None or not _may_see(principal, row.user_id, row.billing_group, row.target_group):
        raise not_found("job")
    return JobOutput(
        job_id=row.id,
        status=row.status,
        progress=Progress(done=row.done, total=row.total),
        result=None if row.result is None else IngestCounts.model_validate(row.result),
        error=None if row.error is None else ErrorBody.model_validate(row.error),
    )


async def uploads_in_use(tx: AsyncConnection) -> set[str]:
    """The uploads that jobs which have not ended take in."""
    statement = select(JOBS.c.upload_id).where(JOBS.c.upload_id.is_not(None), JOBS.c.status.not_in(ENDED))
    return set((await tx.execute(statement)).scalars())


def _may_see(principal: Principal, user_id: str, billing_group: str, target_group: str) -> bool:
    if user_id == principal.user_id and target_group in principal.effective:
        return True
    return billing_group in principal.administers or principal.administers_all()
