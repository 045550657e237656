"""Answers that are read a second time, from the cache or under an idempotency key: only by those who may see them now.

The activities themselves, without workflows and without Redis.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from activities.admit import Admit
from activities.look_up import FAMILY, LookUp
from activities.providers.routes import RouteConfig, RouteTable
from domain.answers import Answered
from domain.calls import Admissions, Call, CallBatch, CallLabels, Outcome, Provenance, Usage, Work
from domain.errors import ErrorCode
from domain.policy import Level
from storage import documents, groups, migrate
from storage.answers import Answers
from storage.cache import Cache, Entry
from storage.documents import NewDocument
from storage.idempotency import IdempotencyKeys
from storage.redis_link import RedisLink
from storage.sql import Database
from tests.storage.worlds import World, small_world

PLAN = Provenance(kind="document", owner_group="acme", id="plan", version=1)
ROUTES = [
    RouteConfig(name="open", provider="p", model="openai/open"),
    RouteConfig(name="sales-only", provider="p", model="openai/sales", groups=("sales",)),
]


@dataclass
class Readings:
    """The activities over one small world with one document, `acme/plan`."""

    world: World
    cache: Cache
    keys: IdempotencyKeys
    admit: Admit
    look_up: LookUp

    def call(self, user: str, prompt: str = "Well?", **more: Any) -> Call:
        narrowing = {name: more.pop(name) for name in ("context", "override") if name in more}
        return Call(
            id=f"call-{user}-{time.monotonic_ns()}",
            operation="completions_create",
            permission=more.pop("permission", "completions:create"),
            caller=self.world.caller(user, **narrowing),
            labels=CallLabels(request_id="r", correlation_id="c"),
            input={"prompt": prompt, **more.pop("input", {})},
            deadline=time.time() + 60,
            **more,
        )

    async def admitted(self, *calls: Call) -> Admissions:
        return await self.admit.run(CallBatch(family="completions", lane="acme", calls=calls))

    async def looked_up(self, *calls: Call) -> Answered:
        admissions = await self.admitted(*calls)
        assert not admissions.refused, admissions.refused
        work = Work(calls=calls, principals=admissions.principals, principal_of=admissions.admitted)
        return await self.look_up.run(work)

    async def keep(self, call: Call, text: str, *provenance: Provenance) -> None:
        """Cache an answer as the settling of `call` would."""
        [job] = (await self.looked_up(call)).completions
        assert job.cache_key is not None
        entry = Entry(data={"text": text}, usage=Usage(), provenance=provenance, stored_at=time.time())
        await self.cache.put(FAMILY, job.cache_key, entry)

    async def cached(self, *calls: Call) -> list[str | None]:
        """The text that each call is answered from the cache, or None."""
        answered = await self.looked_up(*calls)
        return [outcome.data["text"] if outcome.data else None for outcome in answered.outcomes]

    async def store(self, **access: Any) -> None:
        """Store another version of the document."""
        plan = NewDocument("plan", "Plan", "p", "We plan.", Level.INTERNAL)
        async with self.world.database.write() as tx:
            await documents.upsert(tx, "acme", [replace(plan, **access)])


@pytest.fixture
async def readings(tmp_path: Path) -> AsyncIterator[Readings]:
    url = f"sqlite:///{tmp_path / 'cohort.db'}"
    await migrate.upgrade(url)
    database = Database.open(url)
    link = RedisLink(f"unix://{tmp_path / 'none'}")
    cache, keys, answers = Cache(link, b"c" * 32), IdempotencyKeys(b"k" * 32), Answers(database, b"a" * 32)
    readings = Readings(
        world=await small_world(database),
        cache=cache,
        keys=keys,
        admit=Admit(database, keys, answers),
        look_up=LookUp(database, cache, RouteTable(ROUTES), answers),
    )
    await readings.store()
    yield readings
    await link.close()
    await database.close()


async def test_colleagues_share_an_answer_and_nobody_else_has_it(readings: Readings) -> None:
    async with readings.world.database.write() as tx:
        await groups.create_user(tx, "rita", primary_group="research")
        await groups.add_member(tx, "lena", "sales")
        readings.world.keys["rita"] = await groups.create_key(tx, "rita", pepper=b"p" * 32)
    await readings.keep(readings.call("rosa"), "for research")

    found = await readings.cached(
        *(readings.call(user) for user in ("rosa", "rita", "lena", "sam", "both")),
        readings.call("rosa", context="acme"),
        readings.call("rosa", override="lab"),
        readings.call("rosa", "Well? "),
    )

    assert found == ["for research", "for research", None, None, None, None, None, None]


async def test_a_hit_is_authorised_again_for_each_caller(readings: Readings) -> None:
    await readings.keep(readings.call("sam"), "what the plan says", PLAN)
    assert await readings.cached(readings.call("sam")) == ["what the plan says"]
    # The change itself moves the epochs, so the entry is put under the new key too: provenance alone must refuse it.
    await readings.store(restricted_groups=frozenset({"sales"}))
    for version in (1, 2):
        await readings.keep(readings.call("sam"), "denied", PLAN.model_copy(update={"version": version}))
        assert await readings.cached(readings.call("sam")) == [None]


async def test_a_hit_rests_on_the_version_that_was_read(readings: Readings) -> None:
    await readings.keep(readings.call("sam"), "of an older version", PLAN.model_copy(update={"version": 7}))
    assert await readings.cached(readings.call("sam")) == [None]


async def test_what_moves_a_scope_makes_its_answers_unreachable(readings: Readings) -> None:
    async def moved(change: Any) -> bool:
        await readings.keep(readings.call("sam"), "kept")
        assert await readings.cached(readings.call("sam")) == ["kept"]
        async with readings.world.database.write() as tx:
            await change(tx)
        return await readings.cached(readings.call("sam")) == [None]

    async def joins(tx: Any) -> None:
        await groups.add_member(tx, "pat", "sales")

    async def leaves(tx: Any) -> None:
        await groups.remove_member(tx, "pat", "sales")

    async def denies(tx: Any) -> None:
        plan = NewDocument("plan", "Plan", "p", "x", Level.INTERNAL, restricted_groups=frozenset({"sales"}))
        await documents.upsert(tx, "partner", [plan])

    async def no_longer_denies(tx: Any) -> None:
        await documents.upsert(tx, "partner", [NewDocument("plan", "Plan", "p", "x", Level.INTERNAL)])

    async def publishes(tx: Any) -> None:
        await documents.upsert(tx, "partner", [NewDocument("plan", "Plan", "p", "x", Level.PUBLIC)])

    async def withdraws(tx: Any) -> None:
        await documents.delete(tx, "partner", ["plan"])

    for change in (joins, leaves, denies, no_longer_denies, publishes, withdraws):
        assert await moved(change), change.__name__


async def test_a_route_is_open_to_its_groups_only(readings: Readings) -> None:
    answered = await readings.looked_up(
        *(readings.call(user, input={"model": "sales-only"}) for user in ("sam", "rosa"))
    )
    [mine, theirs] = answered.outcomes
    assert mine.error is None
    assert theirs.error is not None
    assert theirs.error.code is ErrorCode.INVALID_ARGUMENT
    assert "sales" not in theirs.error.message


async def test_a_replay_is_authorised_again(readings: Readings) -> None:
    first, second, third = (readings.call("sam", idempotency_key="k") for _ in range(3))
    await readings.admitted(first)
    async with readings.world.database.write() as tx:
        await readings.keys.finish(tx, [Outcome(call_id=first.id, data={"text": "as planned"}, provenance=(PLAN,))])
    assert (await readings.admitted(second)).replayed[second.id].data == {"text": "as planned"}
    await readings.store(restricted_groups=frozenset({"sales"}))
    again = await readings.admitted(third)
    assert not again.replayed
    assert again.refused[third.id].code is ErrorCode.CONFLICT


async def test_a_key_is_its_users_and_its_requests(readings: Readings) -> None:
    first = readings.call("sam", idempotency_key="k")
    await readings.admitted(first)
    async with readings.world.database.write() as tx:
        await readings.keys.finish(tx, [Outcome(call_id=first.id, data={"text": "for sam"})])
    stranger = readings.call("rosa", idempotency_key="k")
    other = readings.call("sam", "Something else", idempotency_key="k")
    narrowed = readings.call("sam", idempotency_key="k", context="acme")

    decided = await readings.admitted(stranger, other, narrowed)

    assert not decided.replayed
    assert set(decided.admitted) == {stranger.id}
    assert {decided.refused[call.id].code for call in (other, narrowed)} == {ErrorCode.CONFLICT}


async def test_admission_asks_for_the_permission_in_force(readings: Readings) -> None:
    may, may_not, not_here = (
        readings.call("rosa", permission="models:read"),
        readings.call("lena", permission="models:read"),
        readings.call("rosa", permission="models:read", context="acme"),
    )
    decided = await readings.admitted(may, may_not, not_here)
    assert set(decided.admitted) == {may.id}
    assert {decided.refused[call.id].code for call in (may_not, not_here)} == {ErrorCode.FORBIDDEN}
