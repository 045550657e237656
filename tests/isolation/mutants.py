"""`make mutants`: break the code on purpose, one edit at a time, and see that its tests notice.

python -m tests.isolation.mutants [--quick] [--only TEXT] [--jobs 2]

Every break is made in a temporary copy of the tree. First the tests of all breaks must pass in an unbroken copy; then
each break's own tests must fail in a broken one. Exit code 1: a break survived. 2: nothing was proved, because a break
no longer fits the code or the tests fail without it.
"""

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.isolation.breaks import Break, answers, cache, callers, engines, policy, protocol

ROOT = Path(__file__).resolve().parents[2]
EVERY: list[Break] = [
    *policy.BREAKS,
    *engines.BREAKS,
    *callers.BREAKS,
    *cache.BREAKS,
    *protocol.BREAKS,
    *answers.BREAKS,
]
SECONDS = 180
"""A run of tests that takes longer is ended, and its break counts as not caught."""
_COPIED = ("domain", "workflows", "activities", "storage", "mcp_server", "stack", "bench", "tests", "pyproject.toml")
# Loading all that is installed takes as long as most of the tests.
_PLUGINS = ("-p", "pytest_asyncio.plugin", "-p", "_hypothesis_pytestplugin", "-p", "no:cacheprovider")
_FAILED, _TESTS_FAILED = re.compile(r"^FAILED ([^\s\[]+)", re.MULTILINE), 1


class Stale(Exception):
    """Nothing can be proved; the message says why."""


@dataclass(frozen=True)
class Verdict:
    """What the tests of one break said. `by` is the test that failed, or what happened instead."""

    broken: Break
    caught: bool
    by: str
    seconds: float


class Tree:
    """A copy of the work tree that may be broken."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)

    def check(self) -> None:
        """Make sure that the copy's own modules are what its tests import."""
        says = self._python("-c", "import domain.policy as module; print(module.__file__)")
        if not says.stdout.strip().startswith(str(self._folder.resolve())):
            raise Stale(f"the tests of the copy would import {says.stdout.strip() or says.stderr}")

    def test(self, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return self._python("-m", "pytest", "-x", "-q", *_PLUGINS, "--isolation-scale=0.2", *tests)

    def verdict(self, broken: Break) -> Verdict:
        """Break the copy, run the break's tests, mend the copy."""
        path, began = self._folder / broken.file, time.perf_counter()
        sound = path.read_text()
        try:
            _write(path, broken.apply(sound))
            run = self.test(broken.tests)
        except subprocess.TimeoutExpired:
            return Verdict(broken, False, f"the tests did not end in {SECONDS} s", time.perf_counter() - began)
        finally:
            _write(path, sound)
        failed = _FAILED.search(run.stdout)
        caught = run.returncode == _TESTS_FAILED and failed is not None
        by = failed[1] if failed else f"pytest ended with {run.returncode}: {run.stdout.strip().splitlines()[-1:]}"
        return Verdict(broken, caught, by, time.perf_counter() - began)

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self._folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=self._folder, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
        )


def _write(path: Path, source: str) -> None:
    """Change a module; its compiled form could pass for current where size and second are the same."""
    path.write_text(source)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def check(breaks: Sequence[Break]) -> None:
    """Make sure that each break still means something.

    Raises:
        Stale: with every break that does not fit the code.
    """
    stale: list[str] = []
    for one in breaks:
        try:
            one.apply((ROOT / one.file).read_text())
        except (ValueError, OSError) as error:
            stale.append(str(error))
    names = [one.name for one in breaks]
    stale += [f"{name}: two breaks are called so" for name in sorted({n for n in names if names.count(n) > 1})]
    if stale:
        raise Stale("These breaks no longer fit the code; say what they mean today:\n" + "\n".join(stale))


def run(breaks: Sequence[Break], jobs: int, console: Console) -> list[Verdict]:
    """The verdict on each break, in order.

    Raises:
        Stale: a break does not fit the code, or a test fails without any.
    """
    check(breaks)
    with tempfile.TemporaryDirectory(prefix="cohort-mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        trees = [Tree(Path(folder) / str(number)) for number in range(min(jobs, len(breaks)))]
        trees[0].check()
        console.print("Running the tests without any break …")
        sound = trees[0].test(sorted({test for one in breaks for test in one.tests}))
        if sound.returncode != 0:
            raise Stale(f"The tests fail without any break:\n{sound.stdout}{sound.stderr}")
        free: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        for tree in trees:
            free.put(tree)

        def judge(one: Break) -> Verdict:
            tree = free.get()
            try:
                return tree.verdict(one)
            finally:
                free.put(tree)

        columns = (TextColumn("breaks"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("", total=len(breaks))
            due = {pool.submit(judge, one): place for place, one in enumerate(breaks)}
            found: dict[int, Verdict] = {}
            for done in as_completed(due):
                found[due[done]] = done.result()
                bar.advance(task)
    return [found[place] for place in range(len(breaks))]


def main() -> int:
    """Parse the arguments, judge, print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.isolation.mutants", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--quick", action="store_true", help="one or two breaks of each kind")
    parser.add_argument("--only", default="", help="breaks whose name or file holds this text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2, help="breaks at once")
    given = parser.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=140)
    chosen = [one for one in EVERY if (one.quick or not given.quick) and given.only in f"{one.name} {one.file}"]
    if not chosen:
        parser.error(f"no break holds {given.only!r}")
    began = time.perf_counter()
    try:
        check(EVERY)
        verdicts = run(chosen, given.jobs, console)
    except Stale as stale:
        console.print(str(stale), markup=False, highlight=False)
        return 2
    table = Table(title="Deliberate breaks", title_justify="left")
    for heading in ("break", "in", "", "by", "s"):
        table.add_column(heading, overflow="fold")
    for one in verdicts:
        said = "[green]caught[/]" if one.caught else "[bold red]SURVIVED[/]"
        table.add_row(one.broken.name, one.broken.file, said, one.by.split("::")[-1], f"{one.seconds:.0f}")
    console.print(table)
    survived = sum(not one.caught for one in verdicts)
    console.print(f"{len(verdicts) - survived} of {len(verdicts)} caught, {time.perf_counter() - began:,.0f} s")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
