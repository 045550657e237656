"""What is taken away is gone with the next request, at whichever front door: two doors, two workers, one PostgreSQL.

Each round changes something at one door, reads at the other at once, takes the change back and reads again. One answer
that is not the truth of its moment fails the test. The kinds of change run side by side, as they would.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from domain.policy import Level
from storage import groups, products
from tests.storage.catalogue import row
from tests.support.cluster import Cluster, cluster
from tests.support.postgres import Postgres
from tests.support.proofs import Proof

Json = dict[str, Any]
SEES, HIDDEN, REFUSED, FORBIDDEN = 200, 404, 401, 403
HOMES = {
    "root": "platform",
    "member": "desk",
    "keyed": "vault",
    "rotated": "vault",
    "disabled": "vault",
    "moved": "annex",
    "listed": "desk",
    "denied": "cellar",
    "reader": "pool",
}


@dataclass(frozen=True)
class House:
    """Two doors, an administrator, and users who read."""

    doors: tuple[httpx.AsyncClient, httpx.AsyncClient]
    tokens: dict[str, str]
    turns: Iterator[int] = field(default_factory=itertools.count)

    async def change(self, door: int, method: str, path: str, data: Json | None = None) -> Json:
        """A change by the administrator, which must be made."""
        sent: Json = {} if data is None else {"json": {"data": data}}
        headers = {"X-API-Key": self.tokens["root"]}
        answer = await self.doors[door].request(method, path, headers=headers, **sent)
        assert answer.is_success, (method, path, answer.text)
        return answer.json()["data"]

    async def reads(self, door: int, token: str, product: str = "jewel") -> int:
        """The status with which the product is answered, by its id and in the listing by turns."""
        headers, client = {"X-API-Key": token}, self.doors[door]
        if next(self.turns) % 2:
            return (await client.get(f"/api/v1/products/{product}", headers=headers)).status_code
        listed = await client.get("/api/v1/products", params={"limit": 100}, headers=headers)
        if not listed.is_success:
            return listed.status_code
        return SEES if product in [item["id"] for item in listed.json()["data"]["items"]] else HIDDEN


Round = Callable[[House, int, int], Awaitable[None]]
"""One round: changes go to the first door, reads to the second."""


async def membership(house: House, here: int, there: int) -> None:
    token = house.tokens["member"]
    await house.change(here, "POST", "/api/v1/groups/vault/members", {"userId": "member"})
    assert await house.reads(there, token) == SEES
    await house.change(here, "DELETE", "/api/v1/groups/vault/members/member")
    assert await house.reads(there, token) == HIDDEN


async def revoked_key(house: House, here: int, there: int) -> None:
    made = await house.change(here, "POST", "/api/v1/admin/keys", {"userId": "keyed"})
    assert await house.reads(there, made["token"]) == SEES
    await house.change(here, "DELETE", f"/api/v1/admin/keys/{made['key']['id']}")
    assert await house.reads(there, made["token"]) == REFUSED
    assert await house.reads(there, house.tokens["keyed"]) == SEES


async def rotated_key(house: House, here: int, there: int) -> None:
    made = await house.change(here, "POST", "/api/v1/admin/keys", {"userId": "rotated"})
    assert await house.reads(there, made["token"]) == SEES
    newer = await house.change(here, "POST", f"/api/v1/admin/keys/{made['key']['id']}/rotate", {})
    assert await house.reads(there, made["token"]) == REFUSED
    assert await house.reads(there, newer["token"]) == SEES


async def disabled_user(house: House, here: int, there: int) -> None:
    token = house.tokens["disabled"]
    await house.change(here, "POST", "/api/v1/admin/users/disabled/disable", {})
    assert await house.reads(there, token) == REFUSED
    await house.change(here, "POST", "/api/v1/admin/users/disabled/enable", {})
    assert await house.reads(there, token) == SEES


async def moved_group(house: House, here: int, there: int) -> None:
    token = house.tokens["moved"]
    await house.change(here, "PATCH", "/api/v1/admin/groups/annex", {"parent": "desk"})
    assert await house.reads(there, token) == HIDDEN
    await house.change(here, "PATCH", "/api/v1/admin/groups/annex", {"parent": "vault"})
    assert await house.reads(there, token) == SEES


async def allowed_group(house: House, here: int, there: int) -> None:
    token = house.tokens["listed"]
    await house.change(here, "PATCH", "/api/v1/admin/products/gem/access", {"allowedGroups": ["desk"]})
    assert await house.reads(there, token, "gem") == SEES
    await house.change(here, "PATCH", "/api/v1/admin/products/gem/access", {"allowedGroups": []})
    assert await house.reads(there, token, "gem") == HIDDEN


async def restricted_group(house: House, here: int, there: int) -> None:
    token = house.tokens["denied"]
    await house.change(here, "PATCH", "/api/v1/admin/products/coin/access", {"restrictedGroups": ["cellar"]})
    assert await house.reads(there, token, "coin") == HIDDEN
    await house.change(here, "PATCH", "/api/v1/admin/products/coin/access", {"restrictedGroups": []})
    assert await house.reads(there, token, "coin") == SEES


async def permission(house: House, here: int, there: int) -> None:
    token = house.tokens["reader"]
    await house.change(here, "PATCH", "/api/v1/admin/groups/pool", {"permissions": []})
    assert await house.reads(there, token) == FORBIDDEN
    await house.change(here, "PATCH", "/api/v1/admin/groups/pool", {"permissions": ["products:read"]})
    assert await house.reads(there, token) == HIDDEN


ROUNDS: dict[Round, int] = {
    **dict.fromkeys((membership, revoked_key, disabled_user, moved_group, allowed_group), 50),
    **dict.fromkeys((rotated_key, restricted_group, permission), 10),
}
"""How many rounds of each kind of change `make test` makes; variants of a kind make a fifth."""


async def test_a_revocation_holds_from_the_next_request_on_at_every_door(
    tmp_path: Path, temporal: str, redis_url: str, postgres: Postgres, proof: Proof
) -> None:
    url, due = postgres.fresh_database(), {each: proof.of(rounds) for each, rounds in ROUNDS.items()}
    async with (
        cluster(tmp_path, temporal=temporal, redis_url=redis_url, database_url=url) as running,
        furnished(running) as house,
    ):
        with proof.progress("revocation on the next request", sum(due.values()), "rounds") as doing:
            await asyncio.gather(*(_repeated(house, each, total, doing.advance) for each, total in due.items()))


async def _repeated(house: House, one: Round, total: int, told: Callable[[], None]) -> None:
    for number in range(total):
        await one(house, number % 2, 1 - number % 2)
        told()


@contextlib.asynccontextmanager
async def furnished(running: Cluster) -> AsyncGenerator[House]:
    """The world of these tests: a vault with products, groups beside and below it, and users who come and go."""
    async with running.database.write() as tx:
        await groups.create_group(
            tx, "platform", name="Platform", access_level=Level.CONFIDENTIAL, admin_level=3, permissions=["*:*"]
        )
        await groups.create_group(tx, "firm", name="Firm", shared_permissions=["products:read"])
        await groups.create_group(tx, "vault", name="Vault", parent="firm", permissions=["products:write"])
        await groups.create_group(tx, "annex", name="Annex", parent="vault")
        await groups.create_group(tx, "cellar", name="Cellar", parent="vault")
        await groups.create_group(tx, "desk", name="Desk", parent="firm")
        await groups.create_group(tx, "pool", name="Pool", permissions=["products:read"])
        await products.upsert(tx, "vault", [row("jewel"), row("gem"), row("coin")], default_level=Level.INTERNAL)
        tokens: dict[str, str] = {}
        for user, group in HOMES.items():
            await groups.create_user(tx, user, primary_group=group)
            tokens[user] = (await groups.create_key(tx, user, pepper=running.pepper)).token
        # Access is changed by those who write in the owner group; administering it is not enough.
        await groups.add_member(tx, "root", "vault")
    async with contextlib.AsyncExitStack() as open_doors:
        first, second = [
            await open_doors.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60)) for url in running.urls
        ]
        yield House((first, second), tokens)
