"""The search attributes by which operators find executions. They are not sealed: ids and names only."""

from collections.abc import Sequence

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from domain.calls import Call

CALL = SearchAttributeKey.for_keyword_list("CohortCall")
"""Every call's id and request id: `CohortCall = "…"` finds the execution that served it."""
GROUP = SearchAttributeKey.for_keyword("CohortGroup")
"""The billing group."""
OPERATION = SearchAttributeKey.for_keyword("CohortOperation")
"""The operation, or the family where one execution serves several operations."""
OUTCOME = SearchAttributeKey.for_keyword("CohortOutcome")
"""How it ended: an error code. Unset while it runs, and on executions of `Calls` whose calls all went well."""

ALL: tuple[SearchAttributeKey[list[str]] | SearchAttributeKey[str], ...] = (CALL, GROUP, OPERATION, OUTCOME)

_ROOM = 1_900
"""Bytes of one value: Temporal's own limit is 2 KB, quotes and commas included."""


def attributes_of(calls: Sequence[Call], group: str, family: str) -> TypedSearchAttributes:
    """What an execution that serves `calls` of one billing group is found by.

    The ids of 64 calls always fit; request ids, which applications choose, are added as far as there is room.
    """
    operations = {call.operation for call in calls}
    return TypedSearchAttributes(
        [
            SearchAttributePair(CALL, _names(calls)),
            SearchAttributePair(GROUP, group),
            SearchAttributePair(OPERATION, operations.pop() if len(operations) == 1 else family),
        ]
    )


def _names(calls: Sequence[Call]) -> list[str]:
    names = dict.fromkeys(call.id for call in calls)
    room = _ROOM - sum(len(name) + 3 for name in names)
    for request in (call.labels.request_id for call in calls):
        size = len(request.encode()) + 3
        if request not in names and size <= room:
            names[request] = None
            room -= size
    return list(names)
