"""Accept uploads for ingestion: who may put what where is decided here, and again with every slice."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities import settle
from activities.inputs import input_of
from domain.answers import Answered
from domain.calls import AdmittedCall, Facts, Outcome, Settlement, Work
from domain.errors import CohortError
from domain.ingestion import IngestInput, IngestJob, JobOutput, Kind, Progress
from storage import audit, jobs
from storage.ingest_rights import check_owner, level_for, levels_of
from storage.jobs import NewJob
from storage.sql import Database
from storage.uploads import Uploads
from workflows import ports

_KINDS: dict[str, Kind] = {"products_ingest": "products", "documents_ingest": "documents"}


@dataclass(frozen=True)
class _Asked:
    admitted: AdmittedCall
    kind: Kind
    input: IngestInput
    size: int


class AcceptIngests:
    """`products_ingest` and `documents_ingest`: a job each, which an `Ingest` workflow carries out."""

    def __init__(self, database: Database, uploads: Uploads) -> None:
        self._database = database
        self._uploads = uploads

    @activity.defn(name=ports.accept_ingests.name)
    async def run(self, work: Work) -> Answered:
        """A queued job for each call that may have one."""
        asked: dict[str, _Asked] = {}
        outcomes: dict[str, Outcome] = {}
        accepted: list[IngestJob] = []
        for admitted in work.admitted():
            try:
                asked[admitted.call.id] = await self._asked(admitted)
            except CohortError as error:
                outcomes[admitted.call.id] = _refused(admitted, error)
        if asked:
            async with self._database.write() as tx:
                for id, one in asked.items():
                    try:
                        accepted.append(await _accept(tx, one))
                        outcomes[id] = queued(one.admitted, one.size)
                    except CohortError as error:
                        outcomes[id] = _refused(one.admitted, error)
        return Answered(outcomes=tuple(outcomes[call.id] for call in work.calls), ingests=tuple(accepted))

    async def _asked(self, admitted: AdmittedCall) -> _Asked:
        asked = input_of(admitted.call, IngestInput)
        kind = _KINDS[admitted.call.operation]
        check_owner(admitted.principal, kind, asked.group)
        # Another user's upload is not there.
        size = await self._uploads.of(admitted.principal.user_id).waiting(asked.upload_id)
        return _Asked(admitted, kind, asked, size)


async def _accept(tx: AsyncConnection, one: _Asked) -> IngestJob:
    principal, group = one.admitted.principal, one.input.group
    own = (await levels_of(tx, [group]))[group]
    level = level_for(principal, group, own, one.input.access_level)
    await jobs.create(
        tx,
        NewJob(
            id=one.admitted.call.id,
            kind=f"{one.kind}_ingest",
            user_id=principal.user_id,
            billing_group=principal.billing_group,
            target_group=group,
            upload_id=one.input.upload_id,
            total=one.size,
        ),
    )
    # Written here, since the ingestion is started next, whether or not its start can be settled. The idempotency key is
    # not settled here: a workflow task that is run again would find the call answered, and nothing would be started.
    accepted = Settlement(call=one.admitted.call, outcome=queued(one.admitted, one.size), principal=principal)
    await audit.append(tx, [settle.entry(accepted)])
    return IngestJob(admitted=one.admitted, kind=one.kind, input=one.input.model_copy(update={"access_level": level}))


def queued(admitted: AdmittedCall, size: int) -> Outcome:
    """What the caller of an accepted upload of `size` bytes is answered."""
    job = JobOutput(job_id=admitted.call.id, status="queued", progress=Progress(done=0, total=size))
    return Outcome(
        call_id=admitted.call.id,
        data=job.model_dump(mode="json", by_alias=True),
        facts=Facts.of(admitted.principal),
    )


def _refused(admitted: AdmittedCall, error: CohortError) -> Outcome:
    return Outcome(call_id=admitted.call.id, error=error.body(), facts=Facts.of(admitted.principal))
