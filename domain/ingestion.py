"""Contracts of ingestion: a user's file becomes products or documents of one group."""

from typing import Literal

from pydantic import Field

from domain.base import Contract
from domain.calls import AdmittedCall
from domain.errors import ErrorBody
from domain.policy import Level

Kind = Literal["products", "documents"]
JobStatus = Literal["queued", "running", "waiting", "completed", "failed", "cancelled"]
EndStatus = Literal["completed", "failed", "cancelled"]


class IngestInput(Contract):
    """Take in an uploaded file for a group."""

    upload_id: str = Field(pattern=r"^[0-9a-f]{20}$", description="From POST /api/v1/admin/uploads.")
    group: str = Field(min_length=1, max_length=64, description="The group that is to own what is taken in.")
    access_level: Level | None = Field(default=None, description="The group's own level if left out.")


class DocumentFile(Contract):
    """One line of a documents upload: a file's name below the folder that was given, and its text."""

    name: str = Field(min_length=1, max_length=512)
    text: str = Field(max_length=2_000_000)


class Reject(Contract):
    """One row that was not taken: its line (or the place of the file in the upload, from 1), and why."""

    line: int
    id: str | None = None
    field: str | None = None
    reason: str


class IngestCounts(Contract):
    """Where an ingestion stands. `rejects` holds the first 1,000; `rejected` counts all."""

    accepted: int = 0
    rejected: int = 0
    unchanged: int = 0
    deleted: int = 0
    rejects: tuple[Reject, ...] = ()


class Progress(Contract):
    """Bytes or items done, of how many."""

    done: int
    total: int


class JobOutput(Contract):
    """A long-running call: follow it until `status` is completed, failed or cancelled; `error` says why it failed."""

    job_id: str
    status: JobStatus
    progress: Progress
    result: IngestCounts | None = None
    error: ErrorBody | None = None


class JobGetInput(Contract):
    """Follow a long-running call."""

    id: str = Field(min_length=1, max_length=64, description="The jobId that the start of the call answered.")


class IngestJob(Contract):
    """The input of the `Ingest` workflow, whose id is `ingest-` and the call's id; the call's id is the job's."""

    admitted: AdmittedCall
    kind: Kind
    input: IngestInput


class IngestEnd(Contract):
    """How an ingestion ended; `failure` says why it stopped before the end of the upload."""

    job: IngestJob
    status: EndStatus
    counts: IngestCounts
    failure: ErrorBody | None = None


class IngestSlice(Contract):
    """One step of an ingestion: read on from `offset` bytes of the upload; `line` is the number of the next line."""

    job: IngestJob
    offset: int = 0
    line: int = 1


class IngestStep(Contract):
    """What a step did, and where the next begins; `done` when the upload is at its end. `size` is in bytes."""

    counts: IngestCounts
    next_offset: int
    next_line: int
    size: int
    done: bool
