"""Is a group answered from another group's cache entry?"""

import re
import uuid
from collections.abc import Callable

from bench.isolation.finding import Finding, Verdict, verdict
from bench.isolation.gateway import Gateway, Member, NotOffered, Request, Unusable
from bench.isolation.http import served
from bench.isolation.probes import Sizes
from bench.isolation.provider import Provider

PROBE = "Cross-group cache leak"
PLAIN = "same words"
PART = "same words, A named a part of the cache of its own"
CHOSEN = "same words, B names that part too"


async def measure(gateway: Gateway, _: Provider, sizes: Sizes) -> list[Finding]:
    """As everybody asks; then where a caller can keep to a part of the cache, whether another can as well."""
    members = await _members(gateway)
    plain = gateway.question
    findings = [await _case(gateway, PLAIN, sizes, members, plain, plain)]
    try:
        gateway.question_into("words", members[0].group)
    except NotOffered as why:
        return findings + [Finding(PROBE, case, "", str(why), Verdict.NOT_OFFERED) for case in (PART, CHOSEN)]

    def into_part(words: str) -> Request:
        return gateway.question_into(words, members[0].group)

    findings.append(await _case(gateway, PART, sizes, members, into_part, plain))
    findings.append(await _case(gateway, CHOSEN, sizes, members, into_part, into_part))
    return findings


async def _members(gateway: Gateway) -> tuple[Member, Member]:
    return await gateway.member(await gateway.group("cache-a")), await gateway.member(await gateway.group("cache-b"))


async def _case(
    gateway: Gateway,
    case: str,
    sizes: Sizes,
    members: tuple[Member, Member],
    ask: Callable[[str], Request],
    ask_as_other: Callable[[str], Request],
) -> Finding:
    first, other = members
    code_word = f"codeword-{uuid.uuid4().hex[:12]}"
    await gateway.own(first, code_word)
    hits = 0
    for _ in range(sizes.rounds):
        words = f"What does the note of our group say? ({uuid.uuid4().hex})"
        filled = await _answer(gateway, first, ask(words))
        again = await _answer(gateway, first, ask(words))
        if code_word not in filled or _number(filled) != _number(again):
            raise Unusable(f"the cache was not filled as it should be: {filled!r}, then {again!r}")
        seen = await _answer(gateway, other, ask_as_other(words))
        hits += _number(seen) == _number(filled) or code_word in seen
    return Finding(
        PROBE,
        case,
        f"{sizes.rounds} questions; A asks twice and gets the same answer from the cache, which rests on "
        f"{gateway.rests_on}; then B, of another group, asks the same words",
        f"{hits} of {sizes.rounds} answered from A's entry",
        verdict(hits > 0),
    )


async def _answer(gateway: Gateway, member: Member, request: Request) -> str:
    return str(served(await gateway.call(member, request), "a completion"))


def _number(answer: str) -> str:
    found = re.search(r"answer-\d+", answer)
    if found is None:
        raise Unusable(f"an answer that the provider did not give: {answer[:300]!r}")
    return found[0]
