"""Limits, models and artifact prefixes that an administrator may give: none above those of the group that he is in."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import preferences
from storage.authority import GROUPS_ADMIN, Authority, lacks
from storage.tables import GROUPS

NUMBERS = {
    "weight": "weight",
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "parallel": "parallel calls",
    "monthly_budget_micros": "monthly budget",
}


async def check(
    tx: AsyncConnection, authority: Authority, over: str | None, asked: Mapping[str, Any], *, itself: str | None = None
) -> None:
    """Refuse limits above the caller's own. `asked` are the columns that change, `over` is the group or its parent.

    A group below one with a budget is bound by that too, so it needs none of its own; the group through which the
    caller administers (`itself`, where he changes that one) keeps one. Platform administrators have no limits.

    Raises:
        CohortError: `forbidden`, with what he lacks.
    """
    through = authority.through(GROUPS_ADMIN, over)
    found = await tx.execute(select(GROUPS).where(GROUPS.c.id.in_(sorted(through))))
    own = {row.id: row for row in found}
    models = await preferences.read(tx, through)
    if authority.may_everywhere(GROUPS_ADMIN):
        return
    lacking = [
        said
        for column, said in NUMBERS.items()
        if column in asked and not any(_within(row, column, asked[column], itself) for row in own.values())
    ]
    if "models" in asked and not any(
        _allowed(models[group].models, asked["models"], empty=group != itself) for group in own
    ):
        lacking.append("models that your group may not use")
    if "artifact_prefixes" in asked:
        mine = [prefix for row in own.values() for prefix in row.artifact_prefixes]
        lacking += [f"the prefix {one}" for one in asked["artifact_prefixes"] if not _below(one, mine)]
    if lacking:
        raise lacks([f"more than your group has: {', '.join(lacking)}"])


def _within(row: Row[Any], column: str, asked: float | None, itself: str | None) -> bool:
    own = getattr(row, column)
    if own is None:
        return True
    return row.id != itself if asked is None else asked <= own


def _allowed(own: Sequence[str], asked: Sequence[str], *, empty: bool) -> bool:
    """Whether these models may be given; an empty list leaves it to the groups above, as it may for one below."""
    return not own or (set(asked) <= set(own) and (bool(asked) or empty))


def _below(prefix: str, own: Iterable[str]) -> bool:
    return any(prefix == one or prefix.startswith(one.rstrip("/") + "/") for one in own)
