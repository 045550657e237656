"""By how much do calls at once overspend a budget?"""

import asyncio
import uuid

from bench.isolation.finding import Finding, Verdict, verdict
from bench.isolation.gateway import Gateway, Member, NotOffered
from bench.isolation.probes import Sizes
from bench.isolation.provider import Provider
from bench.isolation.statistics import median

PROBE = "Budget overrun"
CASE = "calls at once"
AFTER = "calls one by one, afterwards"
PAYS_FOR = 10
"""Completions that the budget pays for."""
FLOODS = 5
PROVIDER_SECONDS = 0.3
SETTLED = 5.0
"""Seconds after a flood for a gateway that books what was spent in the background."""


async def measure(gateway: Gateway, provider: Provider, sizes: Sizes) -> list[Finding]:
    """Floods of uncached completions, each against a budget of its own, and then one call after the other."""
    price = await gateway.price()
    budget = PAYS_FOR * price
    try:
        members = [await gateway.budgeted(budget) for _ in range(FLOODS)]
    except NotOffered as why:
        return [Finding(PROBE, case, "", str(why), Verdict.NOT_OFFERED) for case in (CASE, AFTER)]
    at_once = [await _flood(gateway, provider, member, sizes.parallel) for member in members]
    await asyncio.sleep(SETTLED)
    afterwards = [await _until_refused(gateway, member) for member in members]
    left = [max(0, PAYS_FOR - served) for served in at_once]
    spent, most = median(at_once) / PAYS_FOR, max(at_once) / PAYS_FOR
    too_many = sum(more > rest for more, rest in zip(afterwards, left, strict=True))
    return [
        Finding(
            PROBE,
            CASE,
            f"{FLOODS} times {sizes.parallel} uncached completions at once over all front doors, {price:.2g} USD each, "
            f"against a budget of {budget:.2g} USD; the provider counts what it answered",
            f"{spent:.1f} times the budget spent in the median, {most:.1f} at most",
            verdict(most > 1),
        ),
        Finding(
            PROBE,
            AFTER,
            f"{SETTLED:.0f} s later, one completion after the other until one is refused",
            f"more than was left in {too_many} of {FLOODS}; {sum(left)} were left, {sum(afterwards)} served",
            verdict(too_many > 0),
        ),
    ]


async def _flood(gateway: Gateway, provider: Provider, member: Member, calls: int) -> int:
    before, provider.delay = provider.answers, PROVIDER_SECONDS
    try:
        await asyncio.gather(*(_ask(gateway, member, number % len(gateway.doors)) for number in range(calls)))
    finally:
        provider.delay = 0
    return provider.answers - before


async def _until_refused(gateway: Gateway, member: Member) -> int:
    served = 0
    while served < PAYS_FOR * 2 and await _ask(gateway, member):
        served += 1
    return served


async def _ask(gateway: Gateway, member: Member, door: int = 0) -> bool:
    return (await gateway.call(member, gateway.question(uuid.uuid4().hex), door)).ok
