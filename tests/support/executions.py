"""What operators see of executions and do to them."""

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from tests.support.waiting import eventually


async def kept_trying(client: Client, workflow_id: str, activity: str) -> None:
    """Wait until the activity has failed as often as it takes to see that it is not given up."""

    async def seen() -> bool:
        told = (await client.get_workflow_handle(workflow_id).describe()).raw_description
        return any(one.activity_type.name == activity and one.attempt > 3 for one in told.pending_activities)

    await eventually(seen, seconds=45, what=f"{activity} is tried again and again")


async def cancelled(client: Client, workflow_id: str) -> None:
    """Cancel an execution and wait until it has heard of that."""
    handle = client.get_workflow_handle(workflow_id)
    await handle.cancel()

    async def heard() -> bool:
        kinds = [event.event_type async for event in handle.fetch_history_events()]
        requested = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
        if requested not in kinds:  # it waits for the end of a workflow task
            return False
        return EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED in kinds[kinds.index(requested) :]

    await eventually(heard, seconds=30, what=f"{workflow_id} has heard of its cancellation")
