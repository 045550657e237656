"""Administration: each change in one transaction of its own, with its epochs, audit entry and event, exactly once.

A call that is carried out again, since its first attempt was cut off, finds the audit entry of its id and gives the
answer that was kept in the same transaction.
"""

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities import administration
from activities.administration import Follow
from activities.inputs import input_of
from domain.administration import KeysListInput, MembersInput
from domain.answers import Answered
from domain.base import Contract
from domain.calls import AdmittedCall, Facts, Outcome, Work
from domain.canonical import Value
from domain.envelope import Pagination
from domain.errors import CohortError, ErrorCode
from storage import audit, authority, outbox
from storage.administration import keys, members
from storage.administration.change import Change
from storage.answers import Answers
from storage.audit import Actor, Entry
from storage.pages import Binding, Pages
from storage.sql import Database
from workflows import ports

TOPIC = "administration"
_KEPT = "administered:"
"""Before the id of a call: what a repeated attempt answers."""


class Administer:
    """The family `administration`. `pepper` is `Secrets.key("api-keys")`."""

    def __init__(self, database: Database, answers: Answers, pages: Pages, follow: Follow, pepper: bytes) -> None:
        self._database = database
        self._answers = answers
        self._pages = pages
        self._follow = follow
        self._pepper = pepper

    @activity.defn(name=ports.administer.name)
    async def run(self, work: Work) -> Answered:
        """One outcome a call; a bad one fails alone."""
        return Answered(outcomes=tuple([await self._outcome(admitted) for admitted in work.admitted()]))

    async def _outcome(self, admitted: AdmittedCall) -> Outcome:
        try:
            if admitted.call.operation in ("groups_members", "keys_list"):
                return await self._listed(admitted)
            outcome = await self._changed(admitted)
            await self._follow.after(admitted.call.operation, admitted.call.input, outcome)
            return outcome
        except CohortError as error:
            return Outcome(call_id=admitted.call.id, error=error.body(), facts=Facts.of(admitted.principal))

    async def _changed(self, admitted: AdmittedCall) -> Outcome:
        call = admitted.call
        async with self._database.write() as tx:
            await authority.serialise(tx)
            if await audit.decision_of(tx, call.id) == "allowed":
                return Outcome.model_validate(await self._answers.get_with(tx, _KEPT + call.id))
            change = await administration.carry_out(tx, call, self._pepper)
            await self._record(tx, admitted, change)
            data = change.output.model_dump(mode="json", by_alias=True)
            outcome = Outcome(
                call_id=call.id,
                data=None if change.secret else data,
                stored=change.secret,
                facts=Facts.of(admitted.principal),
                provenance=change.provenance,
            )
            await self._answers.put_with(tx, _KEPT + call.id, outcome.model_dump(mode="json"))
            if change.secret:
                # Where the door fetches it: it never travels through a workflow, not even sealed.
                await self._answers.put_with(tx, call.id, data)
        return outcome

    async def _record(self, tx: AsyncConnection, admitted: AdmittedCall, change: Change) -> None:
        call, principal = admitted.call, admitted.principal
        actor = Actor.of(principal, call.labels.correlation_id)
        entry = Entry(actor, call.operation, object=change.object, reason=change.reason, id=call.id)
        if not await audit.append(tx, [entry]):
            # An earlier attempt was refused and written down so, and what it depended on has changed since.
            raise CohortError(
                ErrorCode.CONFLICT,
                "What this call depends on changed while it was answered. Nothing was done: send it again.",
                retryable=True,
            )
        facts = {"callId": call.id, "subject": change.object, "userId": principal.user_id, **change.event}
        await outbox.append(tx, TOPIC, change.object, facts)

    async def _listed(self, admitted: AdmittedCall) -> Outcome:
        call = admitted.call
        if call.operation == "groups_members":
            asked = input_of(call, MembersInput)
            question: dict[str, Value] = {"group": asked.id}
        else:
            asked = input_of(call, KeysListInput)
            question = {"user": asked.user_id}
        binding = Binding.of(admitted.principal, call.operation, question)
        after = str(self._pages.read(binding, asked.next_token)["after"]) if asked.next_token is not None else ""
        async with self._database.read() as tx:
            if isinstance(asked, MembersInput):
                page = await members.page(tx, call.caller, asked, after)
            else:
                page = await keys.page(tx, call.caller, asked, after)
        token = None if page.after is None else self._pages.issue(binding, {"after": page.after})
        output: Contract = page.output
        return Outcome(
            call_id=call.id,
            data=output.model_dump(mode="json", by_alias=True),
            facts=Facts.of(admitted.principal),
            pagination=Pagination(limit=asked.limit, total=page.total, has_next=token is not None, next_token=token),
        )
