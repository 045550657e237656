"""The rule in one engine at a time, over one telling world: small enough to run at every change, and exact."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.policy import Level, Principal, matches, visibility, visible
from storage.objects import access_of as stored_access
from storage.sql import Database
from tests.isolation.engines import Engine, Lance, Sql
from tests.isolation.reference import Ask, Group, View, view
from tests.isolation.worlds import (
    GROUPS,
    access_of,
    asks,
    every_thing,
    refs_of,
    telling_asks,
    telling_world,
    worlds,
)
from tests.support.proofs import PROPERTIES

THINGS = every_thing()
NOBODY = View(set(), set(), set(), "confidential")
STRANGER = View(set(), set(), {"a"}, "public")


def principal_of(seen: View) -> Principal:
    """A caller with this view, without a database."""
    return Principal(
        user_id="u",
        key_id="k",
        direct=tuple(sorted(seen.direct)),
        effective=tuple(sorted(seen.effective)),
        closure=tuple(sorted(seen.full)),
        clearance=Level(seen.clearance),
        grants=(),
        administers=tuple(sorted(seen.administers)),
        billing_group="a",
    )


def telling_views() -> list[View]:
    views = [view(telling_world(), ask) for ask in telling_asks()]
    return [NOBODY, STRANGER, *(one for one in views if isinstance(one, View))]


@settings(settings.get_profile(PROPERTIES), max_examples=50)
@example(world=telling_world(), asked=telling_asks())
@given(world=worlds(), asked=st.lists(asks(), min_size=1, max_size=3))
def test_the_rule_is_as_it_is_told_a_second_time(world: dict[str, Group], asked: list[Ask]) -> None:
    for ask in asked:
        seen = view(world, ask)
        if isinstance(seen, View):
            principal = principal_of(seen)
            rule = visibility(principal)
            for thing in THINGS:
                assert matches(rule, access_of(thing)) == seen.sees(thing), (ask, thing)
            assert visible(principal, access_of(THINGS[0])) == seen.sees(THINGS[0])


async def _check(engine: Engine) -> None:
    for seen in telling_views():
        found = await engine.passing(visibility(principal_of(seen)))
        assert found == refs_of(thing for thing in THINGS if seen.sees(thing)), (engine.name, seen)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_sql_filters(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path / 'cohort.db'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    engine = Sql(url)
    await engine.create(GROUPS)
    await engine.add(THINGS)
    try:
        await _check(engine)
    finally:
        await engine.close()


async def test_what_sql_reads_back_is_what_was_stored(tmp_path: Path) -> None:
    """Every later decision (a cache hit, a replay, a page) is made over these fields."""
    url = f"sqlite:///{tmp_path / 'cohort.db'}"
    engine = Sql(url)
    await engine.create(GROUPS)
    await engine.add(THINGS)
    database = Database.open(url)
    async with database.read() as tx:
        for kind in ("document", "product"):
            mine = {(thing.owner, thing.id): access_of(thing) for thing in THINGS if thing.kind == kind}
            found = await stored_access(tx, kind, mine)
            assert {ref: access for ref, (_, access) in found.items()} == mine
    await database.close()
    await engine.close()


async def test_lancedb_filters(tmp_path: Path) -> None:
    engine = await Lance.create(tmp_path)
    await engine.add(THINGS[::2])
    await engine.tidy()
    await engine.add(THINGS[1::2])
    await _check(engine)
