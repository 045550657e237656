"""What lies in the two LanceDB tables: their schemas, keys and indexes.

Every row carries its object's access fields and version. The copy is never the authority: SQL checks whatever a search
finds. No column is nullable, since NULL in a list of denied groups would decide for itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pyarrow as pa
from lancedb.index import FTS, Bitmap, BTree, LabelList

from domain.policy import ObjectAccess
from storage.embeddings import Vector

Kind = Literal["products", "passages"]

# LanceDB lets concurrent writers insert the same key twice, except where the key is declared as the primary key: then
# one of two racing commits is run again on top of the other.
_PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}


class Ref(NamedTuple):
    """One object: ids are unique within their owner group."""

    owner_group: str
    id: str


@dataclass(frozen=True)
class ProductEntry:
    """A product as searches see it. `tokens` (see `policy_lance.token`) are its facts for filters."""

    id: str
    version: int
    access: ObjectAccess
    text: str
    vector: Vector
    price: float
    tokens: Sequence[str]

    def row(self) -> dict[str, Any]:
        """The table's row."""
        return {
            "key": product_key(Ref(self.access.owner_group, self.id)),
            **_common(self.access, self.version, self.text, self.vector),
            "price": self.price,
            "tokens": sorted(self.tokens),
        }


@dataclass(frozen=True)
class PassageEntry:
    """One passage of a document: number `chunk` (from 0) of `chunks`."""

    document: str
    version: int
    access: ObjectAccess
    chunk: int
    chunks: int
    text: str
    vector: Vector

    def row(self) -> dict[str, Any]:
        """The table's row."""
        return {
            "key": f"{self.access.owner_group}/{self.document}/{self.chunk}",
            **_common(self.access, self.version, self.text, self.vector),
            "document": self.document,
            "chunk": self.chunk,
            "chunks": self.chunks,
        }


def product_key(ref: Ref) -> str:
    """The key of a product's row; neither part can hold a slash."""
    return f"{ref.owner_group}/{ref.id}"


def ref_of(key: str) -> Ref:
    """The object that a row's key belongs to."""
    owner, identity = key.split("/")[:2]
    return Ref(owner, identity)


def schema_of(kind: Kind, dimensions: int) -> Any:
    """The columns of a table, as a `pyarrow.Schema` (pyarrow has no types)."""
    words = pa.list_(pa.field("item", pa.string(), nullable=False))
    own = {
        "products": [("price", pa.float64()), ("tokens", words)],
        "passages": [("document", pa.string()), ("chunk", pa.int32()), ("chunks", pa.int32())],
    }[kind]
    columns = [
        ("owner_group", pa.string()),
        ("access_level", pa.string()),
        ("allowed_groups", words),
        ("restricted_groups", words),
        ("sensitive", pa.bool_()),
        ("version", pa.int64()),
        ("text", pa.string()),
        ("vector", pa.list_(pa.float32(), dimensions)),
        *own,
    ]
    key = pa.field("key", pa.string(), nullable=False, metadata=_PRIMARY_KEY)
    return pa.schema([key, *(pa.field(name, kind_of, nullable=False) for name, kind_of in columns)])


def indexes_of(kind: Kind) -> dict[str, FTS | Bitmap | BTree | LabelList]:
    """The index of each column that filters and word searches use."""
    common: dict[str, FTS | Bitmap | BTree | LabelList] = {
        "key": BTree(),
        "text": FTS(),
        "owner_group": Bitmap(),
        "access_level": Bitmap(),
        "allowed_groups": LabelList(),
        "restricted_groups": LabelList(),
    }
    if kind == "products":
        return {**common, "price": BTree(), "tokens": LabelList()}
    return {**common, "document": BTree()}


def access_columns(access: ObjectAccess) -> dict[str, Any]:
    """Who may see a row's object."""
    return {
        "owner_group": access.owner_group,
        "access_level": access.access_level.value,
        "allowed_groups": sorted(access.allowed_groups),
        "restricted_groups": sorted(access.restricted_groups),
        "sensitive": access.sensitive,
    }


def _common(access: ObjectAccess, version: int, text: str, vector: Vector) -> dict[str, Any]:
    return {**access_columns(access), "version": version, "text": text, "vector": vector}
