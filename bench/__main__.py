"""`make bench`: every measurement in one run, as a table on screen and as JSON under `bench/results/`.

python -m bench [--seconds 6] [--only completions,startup,search]
"""

import argparse
import datetime
import json
import os
import platform
from pathlib import Path
from typing import Any

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from bench import completions, startup
from bench.stack import running

RESULTS = Path(__file__).parent / "results"


async def _run(seconds: float, only: set[str]) -> dict[str, Any]:
    console = Console()
    results: dict[str, Any] = {
        "machine": {
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    console.print("Starting a Cohort of its own on free ports …")
    with running() as stack:
        if "startup" in only:
            console.print("Weighing the processes …")
            results["startup"] = startup.measure(stack)
        if "completions" in only:
            console.print(f"Cached completions at {completions.CALLERS} callers, {seconds:g} s each …")
            results["completions"] = await completions.measure(stack, seconds)
        if "search" in only:
            console.print("Product search against bare LanceDB …")
            # Here, as LanceDB warns of every process that is started once it is loaded.
            from bench import search

            results["search"] = await search.measure(stack, seconds)
    _print(console, results)
    return results


def _print(console: Console, results: dict[str, Any]) -> None:
    if "completions" in results:
        table = Table(title="Cached completions", title_justify="left")
        for heading in ("", "callers", "p50 ms", "p99 ms", "calls/s"):
            table.add_column(heading, justify="left" if not heading else "right")
        names = {"floor": "bare workflow a call", "rest": "Cohort, REST", "mcp": "Cohort, MCP"}
        for door, by_callers in results["completions"]["figures"].items():
            for f in by_callers.values():
                row = (str(f["callers"]), f"{f['p50']:.1f}", f"{f['p99']:.1f}", f"{f['rate']:,.0f}")
                table.add_row(names[door], *row)
        console.print(table)
    for part in ("completions", "search"):
        for what, ratios in results.get(part, {}).get("ratios", {}).items():
            for name, value in ratios.items():
                console.print(f"{what}: {name}: {value:.2f}")
    for part in ("startup", "search"):
        for name, value in results.get(part, {}).items():
            if name != "ratios":
                console.print(f"{name}: {value if isinstance(value, str) else format(value, ',.2f')}")


def main() -> None:
    """Parse the arguments, measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6, help="seconds a point")
    parser.add_argument("--only", default="startup,completions,search", help="a comma-separated list")
    arguments = parser.parse_args()
    results = uvloop.run(_run(arguments.seconds, set(arguments.only.split(","))))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{results['at'].replace(':', '')}.json"
    path.write_text(json.dumps(results, indent=2))
    print(f"Kept in {path}")


if __name__ == "__main__":
    main()
