"""Keeps the answers of a batch small enough to travel: the largest ones go by way of the database."""

from collections.abc import Sequence

import orjson

from domain.calls import Outcome
from storage.answers import Answers

TRAVEL_BYTES = 1_000_000
"""Of one batch, encoded. A payload may be 2 MB, and the outcomes of a batch are in two of them."""


async def bounded(outcomes: Sequence[Outcome], answers: Answers, *, limit: int = TRAVEL_BYTES) -> tuple[Outcome, ...]:
    """The same outcomes; where they are too large together, the largest are stored and marked `stored`."""
    sizes = {outcome.call_id: _size(outcome) for outcome in outcomes}
    total = sum(sizes.values())
    away: dict[str, Outcome] = {}
    for outcome in sorted(outcomes, key=lambda one: sizes[one.call_id], reverse=True):
        if total <= limit:
            break
        if outcome.data is not None:
            await answers.put(outcome.call_id, outcome.data)
            away[outcome.call_id] = outcome.model_copy(update={"data": None, "stored": True})
            total -= sizes[outcome.call_id]
    return tuple(away.get(outcome.call_id, outcome) for outcome in outcomes)


def _size(outcome: Outcome) -> int:
    return len(orjson.dumps(outcome.data)) if outcome.data is not None else 0
