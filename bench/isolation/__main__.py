"""`make bench-isolation`: start each gateway, probe it, print one table.

python -m bench.isolation [--gateway cohort|litellm|all] [--only cache,oracle] [--json] [--markdown]
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from types import ModuleType

from rich.console import Console

from bench.isolation import report
from bench.isolation.finding import Finding, Verdict
from bench.isolation.gateway import Unusable
from bench.isolation.gateways import GATEWAYS, Connect
from bench.isolation.http import Http
from bench.isolation.probes import Sizes, budget, cache, foreign, oracle, revocation
from bench.isolation.provider import Provider, provider_server

PROBES: dict[str, ModuleType] = {
    "cache": cache,
    "revocation": revocation,
    "oracle": oracle,
    "budget": budget,
    "foreign": foreign,
}


async def probe(connect: Connect, provider: Provider, sizes: Sizes, only: Sequence[str], say: Console) -> report.Column:
    """What the probes found of one gateway; one that could not be prepared is a line of its own."""
    http, findings = Http(), list[Finding]()
    try:
        gateway = connect(http)
        for name in only:
            say.print(f"  {PROBES[name].PROBE} …")
            try:
                findings += await PROBES[name].measure(gateway, provider, sizes)
            except Unusable as why:
                findings.append(Finding(PROBES[name].PROBE, "-", "", str(why), Verdict.NOT_MEASURED))
        return report.Column(f"{gateway.name} {gateway.version}", gateway.setting, findings)
    finally:
        await http.close()


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.isolation", description=__doc__)
    parser.add_argument("--gateway", choices=[*GATEWAYS, "all"], default="all")
    parser.add_argument("--only", default=",".join(PROBES), help="a comma-separated list of probes")
    parser.add_argument("--rounds", type=int, default=Sizes.rounds, help="questions, and changes a way")
    parser.add_argument("--calls", type=int, default=Sizes.calls, help="calls for each of two objects")
    parser.add_argument("--json", action="store_true", help="print what was done, figure and verdict as JSON")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = parser.parse_args()
    sizes = Sizes(rounds=arguments.rounds, calls=arguments.calls)
    say = Console(stderr=True)
    columns: list[report.Column] = []
    for name in GATEWAYS if arguments.gateway == "all" else [arguments.gateway]:
        say.print(f"Starting {name} …")
        with provider_server() as provider, GATEWAYS[name](provider) as connect:
            columns.append(asyncio.run(probe(connect, provider, sizes, arguments.only.split(","), say)))
    if arguments.json:
        json.dump([column.json() for column in columns], sys.stdout, indent=2)
    elif arguments.markdown:
        print(report.markdown(columns))
    else:
        Console().print(report.table(columns))


if __name__ == "__main__":
    main()
