"""One policy in every engine: the pure function, a second telling of the rule, SQLite, PostgreSQL, LanceDB and Cedar.

Every caller of a made-up world is compared over every object. The long run is the same code with a larger scale.
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from domain.errors import CohortError
from domain.policy import Principal, matches, visibility
from tests.isolation.cedar import Cedar
from tests.isolation.engines import Engine, Lance, Sql
from tests.isolation.reference import Ask, Group, Ref, Thing, View, view
from tests.isolation.worlds import (
    FEATURES,
    GROUPS,
    PERMISSIONS,
    access_of,
    asks,
    every_thing,
    features_of,
    new_things,
    refs_of,
    telling_asks,
    telling_world,
    worlds,
)
from tests.support.proofs import Doing, Proof

PAIRS = 100_000
"""Pairs of a caller and an object that a run compares at least, at scale 1."""
CEDAR_SAMPLE = 100
"""Objects that Cedar is asked about for each caller."""
TIDY_EVERY = 20
"""Worlds after which LanceDB merges its small writes; between, searches meet indexed and fresh rows."""


class Comparison:
    """All engines with the same objects, and what was compared so far."""

    def __init__(self, databases: Sequence[Sql], lance: Lance, things: list[Thing], doing: Doing) -> None:
        self._databases = databases
        self._lance = lance
        self._engines: list[Engine] = [*databases, lance]
        self._things = things
        self._accesses = {thing.ref: access_of(thing) for thing in things}
        self._cedar = Cedar(things)
        self._new: list[Thing] = []
        self._doing = doing
        self._chance = random.Random(20)
        self.worlds = self.callers = self.seen = self.cedar = 0
        self.met = set[str]()

    async def compare(self, world: dict[str, Group], asked: Sequence[Ask], new: list[Thing]) -> None:
        await self._replace(new)
        taken, same = await asyncio.gather(*(database.take(world, asked) for database in self._databases))
        views = [view(world, ask) for ask in asked]
        passed: list[tuple[Ask, View, Principal]] = []
        for ask, expected, principal, other in zip(asked, views, taken, same, strict=True):
            self.met |= features_of(world, ask, expected)
            if isinstance(expected, str):
                assert isinstance(principal, CohortError), (ask, principal)
                assert isinstance(other, CohortError), (ask, other)
                assert principal.code.value == other.code.value == expected, ask
                continue
            assert isinstance(principal, Principal), (ask, principal)
            assert other == principal
            self._compare_rights(world, ask, expected, principal)
            passed.append((ask, expected, principal))
        for ask, expected, principal in passed:
            await self._compare_sight(ask, expected, principal)
        self._compare_with_cedar(world, [(ask, expected) for ask, expected, _ in passed])
        self.worlds += 1
        self.callers += len(passed)

    async def _replace(self, new: list[Thing]) -> None:
        """Give every engine this world's own objects instead of the last one's."""
        for engine in self._engines:
            await engine.remove(self._new)
            await engine.add(new)
        self._new = new
        if self.worlds % TIDY_EVERY == 0:
            await self._lance.tidy()

    def _compare_rights(self, world: dict[str, Group], ask: Ask, expected: View, principal: Principal) -> None:
        assert set(principal.direct) == expected.direct, ask
        assert set(principal.effective) == expected.effective, ask
        assert set(principal.closure) == expected.full, ask
        assert principal.clearance == expected.clearance, ask
        administered = set(world) if "*" in principal.administers else set(principal.administers)
        assert administered == expected.administers, ask
        for permission in PERMISSIONS:
            assert principal.may(permission) == expected.may(permission), (ask, permission)

    async def _compare_sight(self, ask: Ask, expected: View, principal: Principal) -> None:
        things = [*self._things, *self._new]
        seen = refs_of(thing for thing in things if expected.sees(thing))
        rule, accesses = visibility(principal), self._accesses | {thing.ref: access_of(thing) for thing in self._new}
        _same("the pure function", ask, {ref for ref, access in accesses.items() if matches(rule, access)}, seen)
        for engine, found in zip(
            self._engines, await asyncio.gather(*(engine.passing(rule) for engine in self._engines)), strict=True
        ):
            _same(engine.name, ask, found, seen)
        self.seen += len(seen)
        self._doing.advance(len(things))

    def _compare_with_cedar(self, world: dict[str, Group], passed: Sequence[tuple[Ask, View]]) -> None:
        sample = [(ask, self._chance.sample(self._things, CEDAR_SAMPLE) + self._new) for ask, _ in passed]
        decided = self._cedar.seen(world, sample, self._new)
        for (ask, expected), (_, things), found in zip(passed, sample, decided, strict=True):
            _same("Cedar", ask, found, refs_of(thing for thing in things if expected.sees(thing)))
            self.cedar += len(things)


def _same(engine: str, ask: Ask, found: set[Ref], seen: set[Ref]) -> None:
    if found != seen:
        raise AssertionError(
            f"{engine} shows {sorted(found - seen)[:5]} and hides {sorted(seen - found)[:5]}, against the reference, "
            f"to {ask}"
        )


def test_every_engine_agrees(tmp_path: Path, postgres_url: str, proof: Proof) -> None:
    target = proof.of(PAIRS)
    databases = [Sql(f"sqlite:///{tmp_path / 'cohort.db'}"), Sql(postgres_url)]
    things = every_thing()
    with asyncio.Runner() as runner, proof.progress("one policy in every engine", target, "pairs") as doing:
        lance = runner.run(Lance.create(tmp_path / "lance"))
        comparison = Comparison(databases, lance, things, doing)
        for database in databases:
            runner.run(database.create(GROUPS))
        for engine in (*databases, lance):
            runner.run(engine.add(things))

        # Shrinking would run every engine for minutes; the first counterexample is small enough to read.
        @settings(
            max_examples=10,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
            database=None,
            phases=[Phase.explicit, Phase.generate],
        )
        @example(world=telling_world(), asked=telling_asks(), new=[])
        @given(world=worlds(), asked=st.lists(asks(), min_size=10, max_size=16), new=new_things())
        def agree(world: dict[str, Group], asked: list[Ask], new: list[Thing]) -> None:
            runner.run(comparison.compare(world, asked, new))

        try:
            agree()
            while doing.done < target:
                agree()
        finally:
            for database in databases:
                runner.run(database.close())
        share = comparison.seen / doing.done
        doing.note = (
            f"{comparison.worlds:,} worlds, {comparison.callers:,} callers, {share:.0%} of the pairs visible, "
            f"{comparison.cedar:,} asked of Cedar too"
        )
    assert comparison.met == FEATURES
    assert 0 < comparison.seen < doing.done
