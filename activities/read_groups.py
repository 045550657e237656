"""Tell callers of their groups, and what each lets them do."""

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.inputs import input_of
from domain.answers import Answered
from domain.base import Contract
from domain.calls import AdmittedCall, Facts, Outcome, Work
from domain.errors import CohortError
from domain.groups import GroupPermissionsInput, GroupsListOutput
from storage import group_views
from storage.sql import Database
from workflows import ports


class ReadGroups:
    """`groups_list` and `groups_permissions`, in one snapshot."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn(name=ports.read_groups.name)
    async def run(self, work: Work) -> Answered:
        """One outcome a call."""
        async with self._database.read() as tx:
            return Answered(outcomes=tuple([await self._outcome(tx, call) for call in work.admitted()]))

    async def _outcome(self, tx: AsyncConnection, admitted: AdmittedCall) -> Outcome:
        id, facts = admitted.call.id, Facts.of(admitted.principal)
        try:
            output = await _answer(tx, admitted)
        except CohortError as error:
            return Outcome(call_id=id, error=error.body(), facts=facts)
        return Outcome(call_id=id, data=output.model_dump(mode="json", by_alias=True), facts=facts)


async def _answer(tx: AsyncConnection, admitted: AdmittedCall) -> Contract:
    principal = admitted.principal
    if admitted.call.operation == "groups_list":
        return GroupsListOutput(user_id=principal.user_id, groups=await group_views.summaries(tx, principal))
    asked = input_of(admitted.call, GroupPermissionsInput)
    return await group_views.permissions(tx, principal, asked.id)
