"""Can another group read, list or cancel a batch, or read its file?"""

from bench.isolation.finding import Finding, Verdict, verdict
from bench.isolation.gateway import Gateway, NotOffered, Unusable
from bench.isolation.probes import Sizes
from bench.isolation.provider import Provider

PROBE = "Foreign batch read"
KINDS = {"batch": ("file read", "file list", "batch read", "batch list", "batch cancel"), "job": ("job read",)}


async def measure(gateway: Gateway, _: Provider, __: Sizes) -> list[Finding]:
    """Batches, and other long-running jobs where there are some."""
    owner = await gateway.member(await gateway.group("foreign-a"))
    other = await gateway.member(await gateway.group("foreign-b"))
    findings: list[Finding] = []
    for kind, cases in KINDS.items():
        try:
            foreign = {each.what: each for each in await gateway.foreign(owner, kind)}
        except NotOffered as why:
            findings += [Finding(PROBE, case, "", str(why), Verdict.NOT_OFFERED) for case in cases]
            continue
        for case in cases:
            asked = foreign[case]
            theirs = await gateway.call(other, asked.request)
            own = await gateway.call(owner, asked.request)
            if not own.ok or asked.mark not in own.text:
                raise Unusable(f"{asked.request.path} of one's own: {own.status} {own.text[:300]}")
            seen = theirs.ok and asked.mark in theirs.text
            address = asked.request.path.replace(asked.mark, "…")
            findings.append(
                Finding(
                    PROBE,
                    case,
                    f"{asked.request.method} {address} by somebody of another group",
                    f"{theirs.status}, {'shows it' if seen else 'shows nothing of it'}",
                    verdict(seen),
                )
            )
    return findings
