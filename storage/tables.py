"""Every SQL table, as typed models, and the same tables for Core statements.

Times are Unix times in seconds, money is in integer micro-dollars (a millionth of a US dollar), access levels are
stored by name. Migrations make the tables (`storage.migrate`); a test keeps both in step.
"""

import re
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.orm import declared_attr
from sqlmodel import Field, SQLModel

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_LEVELS = "access_level IN ('public', 'internal', 'confidential')"
_SERIAL = BigInteger().with_variant(Integer(), "sqlite")


_UNCOUNTED = ("Ledger", "Audit", "Idempotency", "Outbox")


class _Row(SQLModel):
    """The base of the models: each table is called after its model, in the plural where it has one."""

    metadata = METADATA

    # SQLModel types the name as an attribute that only its own base may compute.
    @declared_attr.directive
    @classmethod
    def __tablename__(cls) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()
        return name if cls.__name__ in _UNCOUNTED else f"{name}s"


class Group(_Row, table=True):
    """A group. `permissions` reach its direct members, `shared_permissions` those of its descendants too."""

    __table_args__ = (
        CheckConstraint(_LEVELS, name="level"),
        CheckConstraint("admin_level BETWEEN 0 AND 3", name="admin"),
    )

    id: str = Field(primary_key=True)
    name: str
    parent: str | None = Field(default=None, foreign_key="groups.id", index=True)
    admin_level: int = 0
    access_level: str
    permissions: list[str] = Field(default=[], sa_type=JSON)
    shared_permissions: list[str] = Field(default=[], sa_type=JSON)
    tier: str = "standard"
    weight: float = 1
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    parallel: int | None = None
    monthly_budget_micros: int | None = Field(default=None, sa_type=BigInteger)
    providers: list[str] = Field(default=[], sa_type=JSON)
    models: list[str] = Field(default=[], sa_type=JSON)
    artifact_prefixes: list[str] = Field(default=[], sa_type=JSON)
    created_at: float


class User(_Row, table=True):
    """A person or a program."""

    id: str = Field(primary_key=True)
    name: str
    primary_group: str = Field(foreign_key="groups.id", index=True)
    created_at: float
    disabled_at: float | None = None


class Membership(_Row, table=True):
    """A direct membership; `role` caps the group's admin level where it is set."""

    __table_args__ = (CheckConstraint("role BETWEEN 0 AND 3", name="role"),)

    user_id: str = Field(primary_key=True, foreign_key="users.id")
    group_id: str = Field(primary_key=True, foreign_key="groups.id", index=True)
    role: int | None = None
    created_at: float


class Key(_Row, table=True):
    """An API key: the HMAC digest of the token, never the token. Empty `groups` and `scopes` bind it to nothing."""

    id: str = Field(primary_key=True)
    digest: bytes = Field(sa_type=LargeBinary)
    user_id: str = Field(foreign_key="users.id", index=True)
    name: str
    groups: list[str] = Field(default=[], sa_type=JSON)
    scopes: list[str] = Field(default=[], sa_type=JSON)
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None


class Document(_Row, table=True):
    """A document's access fields, version and whole text; its passages lie in the vector store."""

    __table_args__ = (CheckConstraint(_LEVELS, name="level"), Index(None, "id"))

    owner_group: str = Field(primary_key=True, foreign_key="groups.id")
    id: str = Field(primary_key=True)
    access_level: str
    sensitive: bool = False
    version: int = Field(sa_type=BigInteger)
    digest: str
    title: str
    source: str
    text: str = Field(sa_type=Text)
    updated_at: float


class Product(_Row, table=True):
    """A product. `title_key` is the title as it is sorted by."""

    __table_args__ = (
        CheckConstraint(_LEVELS, name="level"),
        Index(None, "id"),
        Index(None, "category"),
        Index(None, "price"),
        Index(None, "title_key"),
    )

    owner_group: str = Field(primary_key=True, foreign_key="groups.id")
    id: str = Field(primary_key=True)
    access_level: str
    sensitive: bool = False
    version: int = Field(sa_type=BigInteger)
    digest: str
    sku: str | None = None
    title: str
    title_key: str
    description: str = Field(sa_type=Text)
    category: str
    price: float
    currency: str
    attributes: dict[str, Any] = Field(default={}, sa_type=JSON)
    updated_at: float


class ProductAttribute(_Row, table=True):
    """One attribute of a product; `token` is `name=json value` (`storage.attributes`)."""

    __table_args__ = (
        ForeignKeyConstraint(
            ["owner_group", "product_id"], ["products.owner_group", "products.id"], ondelete="CASCADE"
        ),
    )

    owner_group: str = Field(primary_key=True)
    product_id: str = Field(primary_key=True)
    token: str = Field(primary_key=True, index=True)
    name: str


class ObjectGroup(_Row, table=True):
    """One member of an object's `allowed_groups` or `restricted_groups`. The group need not exist (yet)."""

    __table_args__ = (CheckConstraint("effect IN ('allowed', 'restricted')", name="effect"),)

    object_kind: str = Field(primary_key=True)
    owner_group: str = Field(primary_key=True)
    object_id: str = Field(primary_key=True)
    effect: str = Field(primary_key=True)
    group_id: str = Field(primary_key=True, index=True)


class Tombstone(_Row, table=True):
    """The last version of a deleted object, so that one of the same id goes on from there."""

    object_kind: str = Field(primary_key=True)
    owner_group: str = Field(primary_key=True)
    object_id: str = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)


class Ledger(_Row, table=True):
    """What one call used and cost."""

    __table_args__ = (Index(None, "group_id", "at"),)

    call_id: str = Field(primary_key=True)
    at: float
    group_id: str
    user_id: str
    key_id: str
    operation: str
    provider: str | None = None
    model: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micros: int = Field(default=0, sa_type=BigInteger)
    cached: bool = False
    user_label: str | None = None
    session_label: str | None = None


class Audit(_Row, table=True):
    """Who did or tried what, as which group, and what was decided. Rows are never changed or deleted."""

    __table_args__ = (Index(None, "group_id", "at"), Index(None, "user_id", "at"))

    seq: int | None = Field(default=None, sa_column=Column(_SERIAL, primary_key=True))
    id: str = Field(unique=True)
    at: float
    user_id: str
    key_id: str | None = None
    group_id: str | None = None
    override: str | None = None
    operation: str
    object: str | None = None
    decision: str
    reason: str = ""
    correlation_id: str | None = None


class Idempotency(_Row, table=True):
    """A claimed idempotency key, and how its call ended once it has."""

    user_id: str = Field(primary_key=True)
    operation: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    digest: str
    call_id: str = Field(unique=True)
    claimed_at: float
    expires_at: float = Field(index=True)
    workflow_id: str | None = None
    outcome: bytes | None = Field(default=None, sa_type=LargeBinary)


class Answer(_Row, table=True):
    """An answer too large to travel, sealed."""

    call_id: str = Field(primary_key=True)
    sealed: bytes = Field(sa_type=LargeBinary)
    expires_at: float = Field(index=True)


class Job(_Row, table=True):
    """A long-running call. `target_group` is the group whose objects it is about, `upload_id` what it takes in."""

    id: str = Field(primary_key=True)
    kind: str
    user_id: str = Field(index=True)
    billing_group: str
    target_group: str
    upload_id: str | None = None
    status: str
    done: int = Field(default=0, sa_type=BigInteger)
    total: int = Field(default=0, sa_type=BigInteger)
    result: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    error: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    created_at: float
    updated_at: float
    expires_at: float = Field(index=True)


class IngestRow(_Row, table=True):
    """A row that a running ingestion has dealt with: a repeated slice counts it as before, a second one is refused."""

    job_id: str = Field(primary_key=True)
    object_id: str = Field(primary_key=True)
    line: int = Field(sa_type=BigInteger)
    outcome: str


class Epoch(_Row, table=True):
    """A number that rises with every change in its scope (`group:acme`, `level:internal`, `policy`, `public`)."""

    scope: str = Field(primary_key=True)
    value: int = Field(sa_type=BigInteger)


class Outbox(_Row, table=True):
    """An event that is still to be published; written in the transaction of the change that it tells of."""

    seq: int | None = Field(default=None, sa_column=Column(_SERIAL, primary_key=True))
    topic: str
    key: str
    payload: dict[str, Any] = Field(sa_type=JSON)
    created_at: float
    published_at: float | None = Field(default=None, index=True)


def core(model: type[SQLModel]) -> Table:
    """The table of a model, for Core statements."""
    return METADATA.tables[str(model.__tablename__)]


GROUPS = core(Group)
USERS = core(User)
MEMBERSHIPS = core(Membership)
KEYS = core(Key)
DOCUMENTS = core(Document)
PRODUCTS = core(Product)
PRODUCT_ATTRIBUTES = core(ProductAttribute)
OBJECT_GROUPS = core(ObjectGroup)
TOMBSTONES = core(Tombstone)
LEDGER = core(Ledger)
AUDIT = core(Audit)
IDEMPOTENCY = core(Idempotency)
ANSWERS = core(Answer)
JOBS = core(Job)
INGEST_ROWS = core(IngestRow)
EPOCHS = core(Epoch)
OUTBOX = core(Outbox)
