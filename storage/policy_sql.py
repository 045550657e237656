"""The rule of visibility as a SQL condition, with every value a bound parameter."""

from typing import Literal, assert_never

from sqlalchemy import ColumnElement, Table, and_, exists, false, not_, or_, true

from domain.policy import All, Any, Condition, LevelIn, Meets, Not, Owned, Sensitive
from storage.tables import DOCUMENTS, OBJECT_GROUPS, PRODUCTS, Document, Product, core

ObjectKind = Literal["document", "product"]

TABLES: dict[ObjectKind, Table] = {"document": DOCUMENTS, "product": PRODUCTS}
"""The table of each kind of object."""
_KINDS: dict[type[Document] | type[Product], ObjectKind] = {Document: "document", Product: "product"}
_EFFECTS = {"allowed_groups": "allowed", "restricted_groups": "restricted"}


def where(condition: Condition, table: type[Document] | type[Product]) -> ColumnElement[bool]:
    """The condition on the rows of `table` for which `domain.policy.matches` is true."""
    return _where(condition, core(table), _KINDS[table])


def _where(condition: Condition, table: Table, kind: ObjectKind) -> ColumnElement[bool]:
    match condition:
        case Owned(groups):
            return table.c.owner_group.in_(sorted(groups))
        case Meets(field, groups):
            return _meets(table, kind, _EFFECTS[field], groups)
        case LevelIn(levels):
            return table.c.access_level.in_(sorted(level.value for level in levels))
        case Sensitive():
            return table.c.sensitive.is_(True)
        case Not(term):
            return not_(_where(term, table, kind))
        case All(terms):
            return and_(true(), *(_where(term, table, kind) for term in terms))
        case Any(terms):
            return or_(false(), *(_where(term, table, kind) for term in terms))
        case _:
            assert_never(condition)


def _meets(table: Table, kind: ObjectKind, effect: str, groups: frozenset[str]) -> ColumnElement[bool]:
    if not groups:
        return false()
    return (
        exists()
        .where(
            OBJECT_GROUPS.c.object_kind == kind,
            OBJECT_GROUPS.c.owner_group == table.c.owner_group,
            OBJECT_GROUPS.c.object_id == table.c.id,
            OBJECT_GROUPS.c.effect == effect,
            OBJECT_GROUPS.c.group_id.in_(sorted(groups)),
        )
        .correlate(table)
    )
