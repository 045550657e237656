"""Take one slice of an upload in: SQL first, in one transaction, then the vector copy."""

import asyncio

from temporalio import activity

from activities.accept_ingests import queued
from activities.heartbeats import beating
from domain.errors import CohortError, ErrorCode
from domain.ingestion import IngestSlice, IngestStep, Progress
from storage import ingestion, jobs
from storage.idempotency import IdempotencyKeys
from storage.indexing import Indexer
from storage.sql import Database
from storage.upload_lines import LONGEST, read_slice
from storage.uploads import Uploads
from workflows import ports


class IngestSlices:
    """Repeatable: a slice that is run again, after a crash at any point, leaves and counts the same.

    A worker that was thought dead may come to itself long after another took its slice over: while the job runs, the
    rows that it would store are noted as dealt with, and once the job has ended it stores none.
    """

    def __init__(self, database: Database, uploads: Uploads, indexer: Indexer, keys: IdempotencyKeys) -> None:
        self._database = database
        self._uploads = uploads
        self._indexer = indexer
        self._keys = keys

    @activity.defn(name=ports.ingest_slice.name)
    async def run(self, step: IngestSlice) -> IngestStep:
        """Store, change or delete what the slice says; bad rows are counted and named, and stop nothing.

        Raises:
            CohortError: the uploader has lost his right to the group, the upload is gone, or the job has ended.
        """
        job, id = step.job, step.job.admitted.call.id
        async with beating(f"{job.input.upload_id} from byte {step.offset}"):
            lines = await read_slice(
                self._uploads.of(job.admitted.principal.user_id),
                job.input.upload_id,
                offset=step.offset,
                line=step.line,
                longest=LONGEST[job.kind],
            )
            parsing = await asyncio.to_thread(ingestion.parse, job.kind, lines.lines)
            async with self._database.write() as tx:
                progress = Progress(done=lines.next_offset, total=lines.size)
                if not await jobs.update(tx, id, status="running", progress=progress):
                    raise CohortError(ErrorCode.CONFLICT, "The ingestion has ended. No more rows were taken in.")
                taken = await ingestion.take(tx, job, parsing)
                if step.offset == 0:
                    # The database may have been away when the start was settled; from now on, requests that repeat it
                    # are answered all the same.
                    await self._keys.finish(tx, [queued(job.admitted, lines.size)])
            if job.kind == "products":
                await self._indexer.products(job.input.group, taken.ids)
            else:
                await self._indexer.documents(job.input.group, taken.ids)
        return IngestStep(
            counts=taken.counts,
            next_offset=lines.next_offset,
            next_line=lines.next_line,
            size=lines.size,
            done=lines.done,
        )
