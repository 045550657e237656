"""Choose which providers answer a completion, by the billing group's preference."""

from temporalio import activity

from activities.providers.routes import RouteTable
from domain.completions import CompletionInput, CompletionJob, Routes
from storage import preferences
from storage.sql import Database
from workflows import ports


class ChooseRoutes:
    """The routes to try, best first, with the reason in words."""

    def __init__(self, database: Database, table: RouteTable) -> None:
        self._database = database
        self._table = table

    @activity.defn(name=ports.choose_routes.name)
    async def run(self, job: CompletionJob) -> Routes:
        """Read the group's preference and choose.

        Raises:
            CohortError: `invalid_argument`, the group may not use the model that was asked for.
        """
        principal = job.admitted.principal
        asked = CompletionInput.model_validate(job.admitted.call.input)
        async with self._database.read() as tx:
            preferred = await preferences.read(tx, [principal.billing_group])
        return self._table.choose(asked.model, principal, preferred[principal.billing_group])
