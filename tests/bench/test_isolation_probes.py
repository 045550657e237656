"""Each probe of the isolation suite, against a gateway without the fault that it looks for and against one with it."""

import pytest

from bench.isolation.finding import Finding, Verdict
from bench.isolation.probes import Probe, Sizes, budget, cache, foreign, oracle, revocation
from bench.isolation.provider import Provider
from tests.bench.fake_gateway import Fake

SIZES = Sizes(rounds=2, calls=30, parallel=30, wait=2)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SETTLED", 0)


async def found(probe: Probe, fake: Fake) -> dict[str, Finding]:
    fake.provider = provider = Provider(url="")
    return {finding.case: finding for finding in await probe(fake, provider, SIZES)}


@pytest.mark.parametrize(
    ("probe", "case", "faulty"),
    [
        (cache.measure, cache.PLAIN, Fake(shared_cache=True)),
        (revocation.measure, "key deleted", Fake(revoked_after=0.1)),
        (oracle.measure, "group", Fake(forbidden_if_hidden=True)),
        (oracle.measure, "group", Fake(slow_if_hidden=0.002)),
        (budget.measure, budget.CASE, Fake(checks_budget_first=True)),
        (foreign.measure, "batch read", Fake(open_batches=True)),
    ],
)
async def test_a_fault_is_found_where_there_is_one(probe: Probe, case: str, faulty: Fake) -> None:
    assert (await found(probe, Fake()))[case].verdict is Verdict.HOLDS
    leaking = (await found(probe, faulty))[case]
    assert leaking.verdict is Verdict.LEAKS, leaking


async def test_what_a_gateway_does_not_have_is_said() -> None:
    assert (await found(revocation.measure, Fake()))["user deleted"].verdict is Verdict.NOT_OFFERED
    assert (await found(oracle.measure, Fake()))["product"].verdict is Verdict.NOT_OFFERED
    assert (await found(foreign.measure, Fake()))["job read"].verdict is Verdict.NOT_OFFERED
    assert (await found(cache.measure, Fake()))[cache.CHOSEN].verdict is Verdict.NOT_OFFERED


async def test_a_right_that_is_never_taken_away_ends_the_probe() -> None:
    finding = (await found(revocation.measure, Fake(revoked_after=60)))["key deleted"]
    assert finding.verdict is Verdict.LEAKS
    assert "over 2 s at most" in finding.figure
