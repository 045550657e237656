"""Transactions: snapshots, turns of writers, epochs."""

import asyncio

import pytest
from sqlalchemy import exc, text

from storage import epochs
from storage.sql import Database


async def test_a_read_is_one_snapshot(database: Database) -> None:
    async with database.read() as tx:
        before = await epochs.read(tx, ["policy"])
        async with database.write() as other:
            await epochs.bump(other, ["policy"])
        assert await epochs.read(tx, ["policy"]) == before
    async with database.read() as tx:
        assert await epochs.read(tx, ["policy"]) == {"policy": before["policy"] + 1}


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(exc.DBAPIError):
        async with database.read() as tx:
            await tx.execute(text("INSERT INTO epochs (scope, value) VALUES ('x', 1)"))


async def test_a_failed_transaction_leaves_nothing_and_no_epoch_to_the_next(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as tx:
            await epochs.bump(tx, ["policy"])
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with database.write() as tx:
        await epochs.bump(tx, ["public"])
    async with database.read() as tx:
        assert await epochs.read(tx, ["policy", "public"]) == {"policy": 0, "public": 1}


async def test_a_scope_rises_once_in_a_transaction(database: Database) -> None:
    async with database.write() as tx:
        await epochs.bump(tx, ["policy", "public"])
        await epochs.bump(tx, ["policy"])
    async with database.read() as tx:
        assert await epochs.read(tx, ["policy", "public"]) == {"policy": 1, "public": 1}


async def test_twenty_writers_lose_nothing(database_url: str, database: Database) -> None:
    others = [Database.open(database_url) for _ in range(2)]

    async def write(one: Database, number: int) -> None:
        async with one.write() as tx:
            seen = await tx.scalar(text("SELECT count(*) FROM outbox"))
            await tx.execute(
                text("INSERT INTO outbox (topic, key, payload, created_at) VALUES ('t', :key, '{}', 0)"),
                {"key": f"{number}-{seen}"},
            )
            await epochs.bump(tx, ["policy", f"group:{number}"])

    everyone = [database, *others]
    await asyncio.gather(*(write(everyone[number % 3], number) for number in range(20)))
    async with database.read() as tx:
        assert await tx.scalar(text("SELECT count(*) FROM outbox")) == 20
        assert await epochs.read(tx, ["policy"]) == {"policy": 20}
    for one in others:
        await one.close()


async def test_readers_go_on_while_a_writer_holds_its_transaction(database: Database) -> None:
    async with database.write() as tx:
        await tx.execute(text("INSERT INTO epochs (scope, value) VALUES ('x', 7)"))
        async with database.read() as other:
            assert await epochs.read(other, ["x"]) == {"x": 0}


async def test_a_cancelled_writer_gives_its_turn_back(database: Database) -> None:
    entered = asyncio.Event()

    async def hang() -> None:
        async with database.write() as tx:
            await tx.execute(text("INSERT INTO epochs (scope, value) VALUES ('x', 7)"))
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10), database.write() as tx:
        assert await epochs.read(tx, ["x"]) == {"x": 0}


@pytest.mark.parametrize("url", ["mysql://localhost/x", "oracle://x"])
def test_other_databases_are_refused_in_words(url: str) -> None:
    with pytest.raises(ValueError, match="postgresql://"):
        Database.open(url)
