"""How long does a right still work after it was taken away, at a front door that did not take it away?"""

import asyncio
import time

from bench.isolation.finding import Finding, Verdict, verdict
from bench.isolation.gateway import WAYS, Gateway, NotOffered, Revocation, Unusable
from bench.isolation.probes import Sizes
from bench.isolation.provider import Provider
from bench.isolation.statistics import median

PROBE = "Revocation delay"
AT_ONCE = 10
"""Rounds under way at a time, so that a gateway with a delay of a minute does not take an hour."""
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.5


async def measure(gateway: Gateway, _: Provider, sizes: Sizes) -> list[Finding]:
    """Every way that the gateway has."""
    return [await _way(gateway, way, sizes) for way in WAYS]


async def _way(gateway: Gateway, way: str, sizes: Sizes) -> Finding:
    try:
        # one after the other: what is measured is not how many can be prepared at once
        prepared = [await gateway.revocation(way) for _ in range(sizes.rounds)]
        delays = await _delays(gateway, prepared, sizes.wait)
    except NotOffered as why:
        return Finding(PROBE, way, "", str(why), Verdict.NOT_OFFERED)
    except Unusable as why:
        return Finding(PROBE, way, "", str(why), Verdict.NOT_MEASURED)
    late = [delay for delay in delays if delay > 0]
    return Finding(
        PROBE,
        way,
        f"{sizes.rounds} rounds; the right is used through both front doors, taken away through the first, and from "
        f"that answer on used through the second until it is refused",
        f"served after it in {len(late)} of {sizes.rounds} rounds{_how_long(late, sizes.wait)}",
        verdict(bool(late)),
    )


def _how_long(late: list[float], wait: float) -> str:
    if not late:
        return ""
    longest = f"over {wait:.0f} s" if max(late) >= wait else _duration(max(late))
    return f", for {_duration(median(late))} in the median and {longest} at most"


async def _delays(gateway: Gateway, prepared: list[Revocation], wait: float) -> list[float]:
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(revocation: Revocation) -> float:
        async with at_once:
            return await _delay(gateway, revocation, wait)

    return await asyncio.gather(*(one(revocation) for revocation in prepared))


async def _delay(gateway: Gateway, revocation: Revocation, wait: float) -> float:
    """Seconds from the answer to the revocation until the last use that was served; 0 if none was."""
    other = len(gateway.doors) - 1
    for door in (0, other, other):
        used = await gateway.call(revocation.member, revocation.use, door)
        if not used.ok:
            raise Unusable(f"{revocation.use.path} before the revocation: {used.status} {used.text[:300]}")
    await revocation.revoke()
    taken, pause, last = time.perf_counter(), FIRST_PAUSE, 0.0
    while (await gateway.call(revocation.member, revocation.use, other)).ok:
        last = time.perf_counter() - taken
        if last > wait:
            break
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return last


def _duration(seconds: float) -> str:
    return f"{seconds * 1_000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
