"""Answers too large to travel go by way of the database, the largest first."""

from pathlib import Path

from activities.bounded import bounded
from domain.calls import Outcome
from domain.errors import internal
from storage import migrate
from storage.answers import Answers
from storage.sql import Database


async def test_the_largest_answers_are_stored_until_the_others_fit(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'cohort.db'}"
    await migrate.upgrade(url)
    database = Database.open(url)
    answers = Answers(database, bytes(32))
    sizes = {"a": 100, "b": 900, "c": 50, "d": 400}
    outcomes = [Outcome(call_id=name, data={"text": "x" * size}) for name, size in sizes.items()]
    failed = Outcome(call_id="e", error=internal().body())

    kept = await bounded([*outcomes, failed], answers, limit=600)

    assert [one.call_id for one in kept] == ["a", "b", "c", "d", "e"]
    assert [one.stored for one in kept] == [False, True, False, False, False]
    assert kept[1].data is None
    assert await answers.get("b") == {"text": "x" * 900}
    assert (kept[0], kept[2], kept[3], kept[4]) == (outcomes[0], outcomes[2], outcomes[3], failed)
    await database.close()
