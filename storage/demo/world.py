"""The groups, users and keys of the demo world; its catalogue and documents lie beside this file.

`acme` shares the right to ask and to look with its two departments; what they own, each sees alone. `partner` is
another company, which shares nothing. `platform` administers all of them and owns nothing.
"""

import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ingestion import Kind
from domain.keys import key_digest, parse_key
from domain.policy import Level
from storage import groups, retired
from storage.tables import GROUPS, KEYS, USERS

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class DemoGroup:
    """A group of the demo world, parents before children."""

    id: str
    name: str
    level: Level
    parent: str | None = None
    admin_level: int = 0
    permissions: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Load:
    """One file or folder of the demo world, which a group owns."""

    kind: Kind
    group: str
    path: Path
    level: Level | None = None

    def rows(self) -> int:
        """How many products or documents it holds."""
        if self.kind == "documents":
            return len(list(self.path.glob("*.md")))
        with self.path.open("rb") as file:
            return sum(1 for _ in file)


_WRITES = ("documents:write", "products:write")

DEMO_GROUPS = (
    DemoGroup("platform", "Platform team", Level.CONFIDENTIAL, admin_level=3, permissions=("*:*",)),
    DemoGroup(
        "acme",
        "Acme Outfitters",
        Level.INTERNAL,
        permissions=(*_WRITES, "objects:publish"),
        shared=("completions:create", "products:read", "analytics:read"),
    ),
    DemoGroup("acme-research", "Acme Research", Level.CONFIDENTIAL, "acme", permissions=(*_WRITES, "models:*")),
    DemoGroup("acme-sales", "Acme Sales", Level.INTERNAL, "acme", permissions=(*_WRITES, "objects:publish")),
    DemoGroup(
        "partner",
        "Northgate Trading",
        Level.PUBLIC,
        permissions=("completions:create", "products:read", *_WRITES, "objects:publish"),
    ),
)

DEMO_USERS = {"admin": "platform", "research": "acme-research", "sales": "acme-sales", "partner": "partner"}
"""Each user of the demo world and his only group."""


async def build(tx: AsyncConnection, *, pepper: bytes, known: Mapping[str, str]) -> dict[str, str]:
    """Make what is missing of groups, users and keys; gives a token for each user.

    What an administrator has deleted stays so, with whatever stood below it.

    `known` holds the tokens of an earlier start: those still in force are kept. `pepper` is `Secrets.key("api-keys")`.
    """
    there = await _ids(tx, GROUPS)
    gone = await retired.ids(tx, "group", *(group.id for group in DEMO_GROUPS))
    for group in DEMO_GROUPS:
        if group.parent in gone:
            gone.add(group.id)
        if group.id not in there | gone:
            await groups.create_group(
                tx,
                group.id,
                name=group.name,
                parent=group.parent,
                access_level=group.level,
                admin_level=group.admin_level,
                permissions=group.permissions,
                shared_permissions=group.shared,
            )
    there, left = await _ids(tx, USERS), await retired.ids(tx, "user", *DEMO_USERS)
    tokens: dict[str, str] = {}
    for user, group in DEMO_USERS.items():
        if user in left or (user not in there and group in gone):
            continue
        if user not in there:
            await groups.create_user(tx, user, primary_group=group)
        token = known.get(user, "")
        if not await _in_force(tx, token, user, pepper):
            token = (await groups.create_key(tx, user, pepper=pepper, name="demo")).token
        tokens[user] = token
    return tokens


async def is_there(tx: AsyncConnection) -> bool:
    """Whether the users of the demo world exist, but for those that an administrator has deleted."""
    return set(DEMO_USERS) <= await _ids(tx, USERS) | await retired.ids(tx, "user", *DEMO_USERS)


def loads() -> Iterator[Load]:
    """What is ingested: a products file for each group, and a documents folder for each group and level."""
    for path in sorted((FOLDER / "products").glob("*.jsonl")):
        yield Load("products", path.stem, path)
    for path in sorted((FOLDER / "documents").glob("*/*")):
        yield Load("documents", path.parent.name, path, Level(path.name))


async def _ids(tx: AsyncConnection, table: Table) -> set[str]:
    return set((await tx.execute(select(table.c.id))).scalars())


async def _in_force(tx: AsyncConnection, token: str, user: str, pepper: bytes) -> bool:
    key = parse_key(token)
    if key is None:
        return False
    found = select(KEYS.c.digest).where(KEYS.c.id == key.id, KEYS.c.user_id == user, KEYS.c.revoked_at.is_(None))
    digest = (await tx.execute(found)).scalar_one_or_none()
    return digest is not None and hmac.compare_digest(digest, key_digest(token, pepper))
