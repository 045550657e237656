"""Entries for the vector tables, without a model: a text's vector says which topic words it has."""

from collections.abc import Iterable

from domain.policy import Level, ObjectAccess, Principal
from storage.embeddings import Vector
from storage.indexing import tokens_of
from storage.vector_rows import PassageEntry, ProductEntry

TOPICS = ("lamp", "stove", "tent", "rope", "shoe", "boat", "bread", "music")
DIMENSIONS = len(TOPICS)


def vector_of(text: str) -> Vector:
    """One number a topic; never all zero, which has no direction."""
    return [1.0 if topic in text.lower() else 0.01 for topic in TOPICS]


def access(owner: str = "acme", level: Level = Level.INTERNAL, **more: object) -> ObjectAccess:
    """Access fields, internal unless told otherwise."""
    return ObjectAccess.model_validate({"owner_group": owner, "access_level": level, **more})


def product(
    id: str,
    text: str,
    *,
    version: int = 1,
    who: ObjectAccess | None = None,
    price: float = 10,
    category: str = "Lighting",
    attributes: dict[str, str | bool | int | float] | None = None,
) -> ProductEntry:
    """A product's entry."""
    return ProductEntry(
        id=id,
        version=version,
        access=who or access(),
        text=text,
        vector=vector_of(text),
        price=price,
        tokens=tokens_of(category, attributes or {}),
    )


def passages(document: str, texts: Iterable[str], *, version: int = 1, owner: str = "acme") -> list[PassageEntry]:
    """A document's entries."""
    held = list(texts)
    return [
        PassageEntry(
            document=document,
            version=version,
            access=access(owner),
            chunk=at,
            chunks=len(held),
            text=text,
            vector=vector_of(text),
        )
        for at, text in enumerate(held)
    ]


def member(*groups: str, clearance: Level = Level.INTERNAL) -> Principal:
    """A direct member of groups without parents."""
    return Principal(
        user_id="u",
        key_id="k",
        direct=groups,
        effective=groups,
        closure=groups,
        clearance=clearance,
        grants=(),
        billing_group=groups[0] if groups else "none",
    )
