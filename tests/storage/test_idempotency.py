"""Idempotency keys: one call runs, the others get its outcome."""

import asyncio

import pytest
from sqlalchemy import select

from domain.calls import Outcome
from storage.idempotency import GRACE, LIFETIME, Ask, Claim, IdempotencyKeys
from storage.sql import Database
from storage.sweep import sweep
from storage.tables import IDEMPOTENCY

KEYS = IdempotencyKeys(b"k" * 32)
DEADLINE = 30


def ask(call_id: str, *, user: str = "rosa", key: str = "key", digest: str = "d") -> Ask:
    operation = "completions_create"
    return Ask(user_id=user, operation=operation, key=key, digest=digest, call_id=call_id, deadline=DEADLINE)


async def claim(database: Database, *asks: Ask, now: float = 0) -> list[Claim]:
    async with database.write() as tx:
        return await KEYS.claim(tx, asks, now=now)


async def test_one_call_of_a_batch_is_fresh(database: Database) -> None:
    claims = await claim(
        database, ask("b"), ask("a"), ask("c", user="sam"), ask("d", key="other"), ask("e", digest="x")
    )
    assert [one.state for one in claims].count("fresh") == 3
    assert [one.state for one in claims[:2]].count("running") == 1
    assert (claims[2].state, claims[3].state) == ("fresh", "fresh")
    assert claims[4].state == "conflict"
    assert await claim(database) == []


async def test_one_of_many_processes_is_fresh(database: Database, database_url: str) -> None:
    others = [Database.open(database_url) for _ in range(3)]
    everyone = [database, *others]
    claims = await asyncio.gather(
        *(claim(everyone[number % 4], ask(f"call-{number}"), ask(f"o-{number}", key="other")) for number in range(16))
    )
    for which in (0, 1):
        states = [both[which].state for both in claims]
        assert (states.count("fresh"), states.count("running")) == (1, 15)
        assert len({both[which].call_id for both in claims}) == 1
    for one in others:
        await one.close()


async def test_a_retried_activity_keeps_its_claim(database: Database) -> None:
    assert await claim(database, ask("a")) == await claim(database, ask("a")) == [Claim("fresh", "a")]


async def test_a_running_call_is_pointed_to(database: Database) -> None:
    await claim(database, ask("a"))
    assert await claim(database, ask("b")) == [Claim("running", "a")]
    async with database.write() as tx:
        await KEYS.go_on(tx, {"a": "completion-a", "unclaimed": "completion-x"}, until=3_600)
    assert await claim(database, ask("b")) == [Claim("running", "a", "completion-a")]
    assert await claim(database, ask("b"), now=3_600 + GRACE - 1) == [Claim("running", "a", "completion-a")]


async def test_a_key_is_free_again_once_its_workflow_cannot_live_any_more(database: Database) -> None:
    await claim(database, ask("a"))
    async with database.write() as tx:
        await KEYS.go_on(tx, {"a": "completion-a"}, until=3_600)
    assert await claim(database, ask("b"), now=3_600 + GRACE) == [Claim("fresh", "b")]
    async with database.write() as tx:
        await KEYS.finish(tx, [Outcome(call_id="a", data={})])
    assert await claim(database, ask("c"), now=3_600 + GRACE) == [Claim("running", "b")]


async def test_an_outcome_is_kept_where_its_workflow_is_noted_late(database: Database) -> None:
    await claim(database, ask("a"))
    async with database.write() as tx:
        await KEYS.finish(tx, [Outcome(call_id="a", data={})])
        await KEYS.go_on(tx, {"a": "completion-a"}, until=3_600)
    assert (await claim(database, ask("b"), now=LIFETIME - 1))[0].state == "finished"


async def test_a_finished_call_is_replayed_sealed(database: Database) -> None:
    outcome = Outcome(call_id="a", data={"text": "the very secret answer"})
    await claim(database, ask("a"))
    async with database.write() as tx:
        await KEYS.finish(tx, [outcome, Outcome(call_id="unclaimed", data={})])
    assert await claim(database, ask("b")) == [Claim("finished", "a", None, outcome)]
    assert await claim(database, ask("b", digest="x")) == [Claim("conflict", "a")]
    async with database.write() as tx:
        await KEYS.release(tx, ["a"])
    assert (await claim(database, ask("b")))[0].state == "finished"
    async with database.read() as tx:
        [kept] = (await tx.execute(select(IDEMPOTENCY.c.outcome))).scalars()
    assert b"secret" not in bytes(kept)


async def test_a_failed_call_gives_its_key_free(database: Database) -> None:
    await claim(database, ask("a"))
    async with database.write() as tx:
        await KEYS.release(tx, ["a"])
    assert await claim(database, ask("b")) == [Claim("fresh", "b")]


@pytest.mark.parametrize(("after", "state"), [(DEADLINE + GRACE - 1, "running"), (DEADLINE + GRACE, "fresh")])
async def test_a_claim_whose_call_was_lost_ends(database: Database, after: float, state: str) -> None:
    await claim(database, ask("a"))
    assert (await claim(database, ask("b"), now=after))[0].state == state


async def test_keys_are_forgotten_after_a_day(database: Database) -> None:
    await claim(database, ask("a"))
    async with database.write() as tx:
        await KEYS.finish(tx, [Outcome(call_id="a", data={})])
    assert (await claim(database, ask("b"), now=LIFETIME - 1))[0].state == "finished"
    assert (await claim(database, ask("b"), now=LIFETIME))[0].state == "fresh"
    async with database.write() as tx:
        assert await sweep(tx, LIFETIME * 2) == 1
