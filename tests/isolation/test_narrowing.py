"""What a call may change about its caller: contexts, bounds and scopes only take away, overrides stay below."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from domain.errors import CohortError
from domain.policy import Principal, matches, visibility
from tests.isolation.engines import Sql
from tests.isolation.reference import Ask, Group, Ref, with_ancestors
from tests.isolation.worlds import GROUPS, PERMISSIONS, access_of, every_thing, telling_world, worlds
from tests.support.proofs import Proof

EXAMPLES = 30
roles = st.dictionaries(st.sampled_from(GROUPS), st.one_of(st.none(), st.integers(0, 3)), min_size=1, max_size=3)
scopes = st.sampled_from([("models:read",), ("*:read",), ("products:*", "models:deploy")])


@dataclass
class Snapshots:
    """A database, and a loop to take snapshots in."""

    runner: asyncio.Runner
    database: Sql

    def take(self, world: dict[str, Group], asks: Sequence[Ask]) -> list[Principal | CohortError]:
        return self.runner.run(self.database.take(world, asks))


@pytest.fixture
def snapshots(tmp_path: Path) -> Iterator[Snapshots]:
    database = Sql(f"sqlite:///{tmp_path / 'cohort.db'}")
    with asyncio.Runner() as runner:
        runner.run(database.create(GROUPS))
        yield Snapshots(runner, database)
        runner.run(database.close())


def thorough(proof: Proof) -> settings:
    return settings(
        max_examples=proof.of(EXAMPLES),
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        phases=[Phase.explicit, Phase.generate],
    )


def test_contexts_bounds_and_scopes_never_widen(snapshots: Snapshots, proof: Proof) -> None:
    objects = {thing.ref: access_of(thing) for thing in every_thing()}

    def seen(principal: Principal) -> set[Ref]:
        rule = visibility(principal)
        return {ref for ref, access in objects.items() if matches(rule, access)}

    with proof.progress("narrowing never widens", proof.of(EXAMPLES), "worlds") as doing:

        @thorough(proof)
        @example(telling_world(), {"a": None}, None, ("models:read",))
        @example(telling_world(), {"a": None, "d": None}, "b", ("*:read",))
        @given(worlds(), roles, st.one_of(st.none(), st.sampled_from(GROUPS)), scopes)
        def narrow(
            world: dict[str, Group], held: dict[str, int | None], override: str | None, key: tuple[str, ...]
        ) -> None:
            whole = Ask(held, override=override)
            narrowed = [replace(whole, context=group) for group in GROUPS]
            narrowed += [replace(whole, bound=frozenset({group})) for group in GROUPS]
            narrowed += [replace(one, scopes=key) for one in (whole, *narrowed)]
            first, *others = snapshots.take(world, [whole, *narrowed])
            doing.advance()
            if isinstance(first, CohortError):
                assert override is not None
                assert all(isinstance(other, CohortError) for other in others)
                return
            sees = seen(first)
            for ask, other in zip(narrowed, others, strict=True):
                if isinstance(other, CohortError):
                    continue
                assert seen(other) <= sees, ask
                assert other.clearance.rank <= first.clearance.rank, ask
                assert set(other.effective) <= set(first.effective), ask
                assert set(other.closure) == set(first.closure), f"{ask} must not loosen what denies"
                for permission in PERMISSIONS:
                    assert first.may(permission) or not other.may(permission), (ask, permission)
                if "*" not in first.administers:
                    assert set(other.administers) <= set(first.administers), ask

        narrow()


def test_overrides_stay_in_the_administered_subtree_and_need_a_free_key(snapshots: Snapshots, proof: Proof) -> None:
    allowed = 0
    with proof.progress("overrides stay below", proof.of(EXAMPLES), "worlds") as doing:

        @thorough(proof)
        @example(telling_world(), {"a": None, "d": None})
        @example(telling_world(), {"a": 1, "e": 2, "f": None})
        @given(worlds(), roles)
        def override(world: dict[str, Group], held: dict[str, int | None]) -> None:
            nonlocal allowed
            free = [Ask(held, override=group) for group in GROUPS]
            bound = [replace(ask, bound=frozenset(held)) for ask in free]
            *taken, nowhere = snapshots.take(world, [*free, *bound, Ask(held, override="nowhere")])
            for ask, one in zip(free, taken, strict=False):
                assert ask.override is not None
                may = any(_administers(world, group, role, ask.override) for group, role in held.items())
                assert isinstance(one, Principal) == may, ask
                if isinstance(one, Principal):
                    allowed += 1
                    assert one.override == ask.override
                    assert one.direct == (ask.override,)
                    assert set(one.effective) == with_ancestors(world, {ask.override})
                    assert set(one.closure) == with_ancestors(world, {ask.override, *held})
            for ask, one in zip(bound, taken[len(free) :], strict=True):
                assert isinstance(one, CohortError), f"{ask}: a key with bounds overrode"
            assert isinstance(nowhere, CohortError)
            doing.advance()

        override()
    assert allowed


def _administers(world: dict[str, Group], member_of: str, role: int | None, group: str) -> bool:
    level = world[member_of].admin_level if role is None else min(role, world[member_of].admin_level)
    return level == 3 or (level == 2 and member_of in with_ancestors(world, {group}))
