"""Keys at the door: which user and which lane a token stands for. Whether the call may be made, admission decides."""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.calls import Caller
from domain.errors import CohortError, ErrorCode
from domain.keys import ApiKey, key_digest, parse_key
from domain.policy import Principal
from storage import refusals, snapshots
from storage.secrets import Secrets
from storage.sql import Database
from storage.tables import KEYS, USERS

__all__ = ["Database", "Identity", "Secrets", "VerifiedKey"]

_REMEMBER_SECONDS = 60
_REMEMBER_KEYS = 4_096


@dataclass(frozen=True)
class VerifiedKey:
    """Whose key it is, and the lane (billing group) that its call queues in."""

    key_id: str
    user_id: str
    lane: str


@dataclass(frozen=True)
class _Asked:
    """What a remembered verification answers: SHA-256 of the whole token, never just its id, and what narrowed it."""

    token: bytes
    context: str | None
    override: str | None


class Identity:
    """Verifies keys. `pepper` is `Secrets.key("api-keys")`.

    A right key is remembered for a minute; that delays no revocation, since admission reads the key's state again.
    """

    def __init__(self, database: Database, pepper: bytes) -> None:
        self.database = database
        self._pepper = pepper
        self._nobody = secrets.token_bytes(32)
        self._remembered: OrderedDict[_Asked, tuple[float, VerifiedKey]] = OrderedDict()

    async def verify(self, token: str, *, context: str | None = None, override: str | None = None) -> VerifiedKey:
        """The holder of `token`.

        A context or override that he may not use leaves the call in his own lane: admission refuses and audits it,
        and nobody can fill another group's queue.

        Raises:
            CohortError: `unauthenticated`, with what is wrong with the key; wrong and unknown keys are told alike.
        """
        if not token:
            raise refusals.unauthenticated(refusals.MISSING)
        key = parse_key(token)
        if key is None:
            raise refusals.unauthenticated(refusals.MALFORMED)
        asked = _Asked(hashlib.sha256(token.encode()).digest(), context, override)
        verified = self._recall(asked)
        if verified is None:
            async with self.database.read() as tx:
                verified = await self._look_up(tx, key, context, override)
            self._remember(asked, verified)
        return verified

    async def principal(self, caller: Caller) -> Principal:
        """A fresh snapshot of a caller whom the door answers itself.

        Raises:
            CohortError: `unauthenticated` or `forbidden`.
        """
        async with self.database.read() as tx:
            [taken] = await snapshots.take(tx, [caller])
        if isinstance(taken, CohortError):
            raise taken
        return taken

    async def _look_up(
        self, tx: AsyncConnection, key: ApiKey, context: str | None, override: str | None
    ) -> VerifiedKey:
        statement = select(KEYS.c.digest, KEYS.c.user_id, USERS.c.primary_group).join(USERS).where(KEYS.c.id == key.id)
        row = (await tx.execute(statement)).one_or_none()
        # An unknown id is compared too, with a digest that no token has, so that both cost the same time.
        stored = self._nobody if row is None else bytes(row.digest)
        if not hmac.compare_digest(stored, key_digest(key.token, self._pepper)) or row is None:
            raise refusals.unauthenticated(refusals.WRONG)
        plain = Caller(key_id=key.id, user_id=row.user_id)
        narrowed = plain.model_copy(update={"context": context, "override": override})
        lane = str(row.primary_group)
        for taken in await snapshots.take(tx, [plain, narrowed]):
            if isinstance(taken, Principal):
                lane = taken.billing_group
            elif taken.code is ErrorCode.UNAUTHENTICATED:
                raise taken
        return VerifiedKey(key_id=key.id, user_id=row.user_id, lane=lane)

    def _recall(self, asked: _Asked) -> VerifiedKey | None:
        until, verified = self._remembered.get(asked, (0.0, None))
        return verified if time.monotonic() < until else None

    def _remember(self, asked: _Asked, verified: VerifiedKey) -> None:
        self._remembered[asked] = (time.monotonic() + _REMEMBER_SECONDS, verified)
        self._remembered.move_to_end(asked)
        while len(self._remembered) > _REMEMBER_KEYS:
            self._remembered.popitem(last=False)
