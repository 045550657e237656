"""One policy in every engine: the pure function, a second telling of the rule, SQLite, PostgreSQL and LanceDB agree."""

import asyncio
from pathlib import Path

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from domain.errors import CohortError
from domain.policy import matches, visibility
from tests.isolation.engines import Engine, Lance, Sql
from tests.isolation.reference import Ask, Group, view
from tests.isolation.worlds import GROUPS, access_of, asks, every_thing, telling_asks, telling_world, worlds

AT_LEAST = 100_000
"""Pairs of a caller and an object that a run compares."""


def test_every_engine_agrees(tmp_path: Path, postgres_url: str) -> None:
    things = every_thing()
    accesses = {thing.id: access_of(thing) for thing in things}
    databases = [Sql(f"sqlite:///{tmp_path / 'cohort.db'}"), Sql(postgres_url)]
    engines: list[Engine] = [*databases, Lance(tmp_path / "lance", things)]
    compared, refused = 0, 0

    async def compare(world: dict[str, Group], asked: list[Ask]) -> None:
        nonlocal compared, refused
        taken, same = [await database.take(world, asked) for database in databases]
        for ask, principal, other in zip(asked, taken, same, strict=True):
            expected = view(world, ask)
            if expected is None:
                assert isinstance(principal, CohortError)
                assert isinstance(other, CohortError)
                refused += 1
                continue
            assert not isinstance(principal, CohortError), principal
            assert other == principal
            assert set(principal.direct) == expected.direct
            assert set(principal.effective) == expected.effective
            assert set(principal.closure) == expected.full
            assert principal.clearance == expected.clearance
            assert (set(world) if "*" in principal.administers else set(principal.administers)) == expected.administers
            seen = {thing.id for thing in things if expected.sees(thing)}
            rule = visibility(principal)
            assert {name for name, access in accesses.items() if matches(rule, access)} == seen
            for engine in engines:
                assert await engine.passing(rule) == seen
            compared += len(things)

    with asyncio.Runner() as runner:
        for database in databases:
            runner.run(database.fill(GROUPS, things))

        # Shrinking would run every engine for minutes; the first counterexample is small enough to read.
        @settings(
            max_examples=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            database=None,
            phases=[Phase.explicit, Phase.generate],
        )
        @example(world=telling_world(), asked=telling_asks())
        @given(world=worlds(), asked=st.lists(asks(), min_size=3, max_size=8))
        def agree(world: dict[str, Group], asked: list[Ask]) -> None:
            runner.run(compare(world, asked))

        try:
            agree()
        finally:
            for database in databases:
                runner.run(database.database.close())
    assert compared >= AT_LEAST
    assert refused
