"""Does something of another group answer differently from something that is not there?"""

import json
import random
from typing import Any

from bench.isolation.finding import Finding, Verdict, verdict
from bench.isolation.gateway import Answer, Gateway, Pair
from bench.isolation.probes import Sizes
from bench.isolation.provider import Provider
from bench.isolation.statistics import compare

PROBE = "Hidden-object oracle"
OBJECTS = ("group", "member", "key", "model", "product", "job")
"""Kinds of objects, so that columns line up; a gateway without one of them does not offer it."""
WARM_UP = 10


async def measure(gateway: Gateway, _: Provider, sizes: Sizes) -> list[Finding]:
    """Every kind of object that the gateway has."""
    owner = await gateway.member(await gateway.group("oracle-a"))
    other = await gateway.member(await gateway.group("oracle-b"))
    pairs = {pair.what: pair for pair in await gateway.pairs(owner, other)}
    findings: list[Finding] = []
    for what in OBJECTS:
        if what not in pairs:
            findings.append(Finding(PROBE, what, "", "has none, or no address for it", Verdict.NOT_OFFERED))
            continue
        pair = pairs[what]
        control = await gateway.call(pair.seen_by, pair.hidden)
        if control.ok:
            findings.append(_finding(gateway, pair, *await _ask(gateway, pair, sizes.calls)))
        else:
            figure = f"{_address(pair)} answers {control.status} to those who may see it"
            findings.append(Finding(PROBE, what, "", figure, Verdict.NOT_MEASURED))
    return findings


async def _ask(gateway: Gateway, pair: Pair, calls: int) -> tuple[list[Answer], list[Answer]]:
    """Both questions in turn, in an order that is drawn each time, so that a slow moment meets both alike."""
    answers: dict[bool, list[Answer]] = {True: [], False: []}
    for _ in range(calls + WARM_UP):
        for hidden in random.sample((True, False), 2):
            answers[hidden].append(await gateway.call(pair.by, pair.hidden if hidden else pair.absent))
    return answers[True][WARM_UP:], answers[False][WARM_UP:]


def _finding(gateway: Gateway, pair: Pair, hidden: list[Answer], absent: list[Answer]) -> Finding:
    figures: list[str] = []
    statuses = [sorted({answer.status for answer in answers}) for answers in (hidden, absent)]
    if statuses[0] != statuses[1]:
        figures.append(f"status {_list(statuses[0])} or {_list(statuses[1])}")
    bodies = [{comparable(answer, pair.ids, gateway.volatile) for answer in answers} for answers in (hidden, absent)]
    if bodies[0] != bodies[1]:
        figures.append("other body")
    times = compare([answer.seconds for answer in hidden], [answer.seconds for answer in absent])
    leaks = bool(figures) or times.differs
    if not figures:
        figures.append(f"same status ({_list(statuses[0])}) and body")
    apart = f"times told apart {times.told_apart:.0%} (chance 50 %), {times.median_difference * 1_000:+.2f} ms"
    return Finding(
        PROBE,
        pair.what,
        f"{len(hidden)} calls each of {_address(pair)} by somebody of another group, in random order",
        f"{'; '.join(figures)}; {apart}, p = {times.p:.2g}",
        verdict(leaks),
    )


def _address(pair: Pair) -> str:
    return f"{pair.hidden.method} {pair.hidden.path.replace(pair.ids[0], '…')}"


def comparable(answer: Answer, ids: tuple[str, str], volatile: frozenset[str]) -> str:
    """The answer without what differs from call to call, and without the id that was asked for."""
    kept = answer.text if answer.body is None else json.dumps(_without(answer.body, volatile), sort_keys=True)
    for each in ids:
        kept = kept.replace(each, "…")
    return kept


def _without(value: Any, volatile: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(each, volatile) for name, each in value.items() if name not in volatile}
    if isinstance(value, list):
        return [_without(each, volatile) for each in value]
    return value


def _list(statuses: list[int]) -> str:
    return ", ".join(map(str, statuses))
