"""Tell callers where their long-running calls stand."""

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.inputs import input_of
from domain.answers import Answered
from domain.calls import AdmittedCall, Facts, Outcome, Work
from domain.errors import CohortError
from domain.ingestion import JobGetInput, JobOutput
from storage import jobs
from storage.sql import Database
from workflows import ports


class ReadJobs:
    """`jobs_get`, in one snapshot for the batch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn(name=ports.read_jobs.name)
    async def run(self, work: Work) -> Answered:
        """One outcome a call."""
        async with self._database.read() as tx:
            return Answered(outcomes=tuple([await _outcome(tx, call) for call in work.admitted()]))


async def _outcome(tx: AsyncConnection, admitted: AdmittedCall) -> Outcome:
    id, facts = admitted.call.id, Facts.of(admitted.principal)
    try:
        job = await _job(tx, admitted)
    except CohortError as error:
        return Outcome(call_id=id, error=error.body(), facts=facts)
    return Outcome(call_id=id, data=job.model_dump(mode="json", by_alias=True), facts=facts)


async def _job(tx: AsyncConnection, admitted: AdmittedCall) -> JobOutput:
    return await jobs.get(tx, admitted.principal, input_of(admitted.call, JobGetInput).id)
