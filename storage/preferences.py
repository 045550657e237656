"""What billing groups prefer: providers in order, and the models that they may use."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.policy import Principal
from storage import epochs
from storage.sql import Database
from storage.tables import GROUPS

REMEMBERED = 30.0
"""Seconds."""


@dataclass(frozen=True)
class Preferences:
    """Routes by name, best first, and model names; empty means that the group leaves it open."""

    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


class Remembered:
    """The preferences of callers' billing groups, read again once the epoch of groups and hierarchy has moved.

    A group's row that was changed without its epoch is noticed after `REMEMBERED` seconds.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[str, int], tuple[float, Preferences]] = {}

    async def of(self, principals: Iterable[Principal]) -> dict[str, Preferences]:
        """By billing group."""
        now = time.monotonic()
        places = {one.billing_group: (one.billing_group, one.epochs.get(epochs.POLICY, 0)) for one in principals}
        current = {place: at for place, at in self._known.items() if now - at[0] < REMEMBERED}
        due = [group for group, place in places.items() if place not in current]
        if due:
            async with self._database.read() as tx:
                current |= {places[group]: (now, one) for group, one in (await read(tx, due)).items()}
            self._known = current
        return {group: current[place][1] for group, place in places.items()}


async def read(tx: AsyncConnection, groups: Iterable[str]) -> dict[str, Preferences]:
    """The preferences of each group, in one round trip; what a group leaves open, its nearest ancestor decides.

    `UNION` over ids ends the recursion where the hierarchy has a cycle.
    """
    wanted = sorted(set(groups))
    chain = select(GROUPS.c.id, GROUPS.c.parent).where(GROUPS.c.id.in_(wanted)).cte("chain", recursive=True)
    chain = chain.union(select(GROUPS.c.id, GROUPS.c.parent).where(GROUPS.c.id == chain.c.parent))
    statement = select(GROUPS.c.id, GROUPS.c.parent, GROUPS.c.providers, GROUPS.c.models).join(
        chain, chain.c.id == GROUPS.c.id
    )
    known = {row.id: row for row in await tx.execute(statement)}
    return {group: _nearest(known, group) for group in wanted}


def _nearest(known: Mapping[str, Row[Any, Any, Any, Any]], group: str) -> Preferences:
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    here = known.get(group)
    seen: set[str] = set()
    while here is not None and here.id not in seen:
        seen.add(here.id)
        providers = providers or tuple(here.providers)
        models = models or tuple(here.models)
        here = known.get(here.parent)
    return Preferences(providers=providers, models=models)
