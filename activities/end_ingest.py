"""Close an ingestion: its result for `jobs_get`, and nothing of the upload left behind."""

from temporalio import activity

from activities.heartbeats import beating
from domain.calls import Settled
from domain.ingestion import IngestEnd
from storage import ingest_rows, jobs
from storage.sql import Database
from storage.sweep import refresh_statistics
from storage.uploads import Uploads
from storage.vectors import Vectors
from workflows import ports


class EndIngest:
    """Repeatable; the job is closed before anything is tidied up, so that nobody waits for that."""

    def __init__(self, database: Database, uploads: Uploads, vectors: Vectors) -> None:
        self._database = database
        self._uploads = uploads
        self._vectors = vectors

    @activity.defn(name=ports.end_ingest.name)
    async def run(self, end: IngestEnd) -> Settled:
        """Write the result down, delete the upload and bring the indexes up to date."""
        id = end.job.admitted.call.id
        async with beating(end.job.input.upload_id):
            async with self._database.write() as tx:
                await jobs.update(tx, id, status=end.status, result=end.counts, error=end.failure)
                await ingest_rows.clear(tx, id)
            if _taken_in(end):
                await self._uploads.of(end.job.admitted.principal.user_id).delete(end.job.input.upload_id)
            async with self._database.write() as tx:
                await refresh_statistics(tx)
            await self._vectors.optimize("products" if end.job.kind == "products" else "passages")
        return Settled(written=1)


def _taken_in(end: IngestEnd) -> bool:
    """Whether nobody needs the upload again. Of the wrong kind, or stopped half way, it may be started once more."""
    counts = end.counts
    of_use = counts.accepted or counts.unchanged or counts.deleted or not counts.rejected
    return end.status == "completed" and bool(of_use)
