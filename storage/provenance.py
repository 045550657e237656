"""Whether a caller may still see everything that an answer rests on, as it was then.

Asked before every later reading of an answer: a cache hit, an idempotent replay, a stored answer, a job's result.
"""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.calls import Provenance
from domain.policy import ObjectAccess, Principal, visible
from storage.objects import Ref, access_of
from storage.policy_sql import TABLES, ObjectKind

ADMINISTERED = "administered"
"""The kind of what is no object: an answer about a group, which only its administrators read again."""


async def authorised(tx: AsyncConnection, asks: Sequence[tuple[Principal, Sequence[Provenance]]]) -> list[bool]:
    """One answer an ask: every object exists in the version that was read, and is visible. Unknown kinds are refused.

    One round trip a kind of object, however many asks.
    """
    known: dict[ObjectKind, dict[Ref, tuple[int, ObjectAccess]]] = {}
    for kind in TABLES:
        refs = {(item.owner_group, item.id) for _, provenance in asks for item in provenance if item.kind == kind}
        known[kind] = await access_of(tx, kind, refs) if refs else {}
    return [all(_holds(known, principal, item) for item in provenance) for principal, provenance in asks]


def _holds(
    known: dict[ObjectKind, dict[Ref, tuple[int, ObjectAccess]]], principal: Principal, item: Provenance
) -> bool:
    if item.kind == ADMINISTERED:
        return principal.administers_all() or item.owner_group in principal.administers
    for kind, rows in known.items():
        if kind == item.kind and (row := rows.get((item.owner_group, item.id))) is not None:
            version, access = row
            return version == item.version and visible(principal, access)
    return False
