"""How hard the proofs of isolation try, the progress they show, and the table of what they did.

`--isolation-scale` multiplies every amount: 1 in `make test`, 20 in `make isolation`. A proof asks for `proof.of(50)`
rounds and gets 1,000 of them there; nothing else tells the two runs apart.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import IO, Any

import pytest
from hypothesis import settings
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Task as ProgressTask
from rich.table import Table
from rich.text import Text

OPTION = "--isolation-scale"
PROPERTIES = "properties"
"""The Hypothesis profile of properties of pure functions; `settings.get_profile(PROPERTIES)` decorates a test."""


@dataclass(frozen=True)
class Figure:
    """What one proof did."""

    name: str
    amount: int
    unit: str
    seconds: float
    note: str

    @property
    def rate(self) -> float:
        return self.amount / self.seconds if self.seconds else 0


class Proof:
    """The scale of this run, and what its proofs did so far."""

    def __init__(self, scale: float, terminal: IO[str] | None) -> None:
        self.scale = scale
        self.figures: list[Figure] = []
        self._terminal = terminal

    def of(self, amount: int) -> int:
        """So many at scale 1, and as many times more as the scale says; never none."""
        return max(1, round(amount * self.scale))

    @contextlib.contextmanager
    def progress(self, name: str, total: int, unit: str) -> Generator["Doing"]:
        """Count towards `total` with a bar on the terminal, then keep the figure."""
        doing, began = Doing(), time.perf_counter()
        if self._terminal is None:
            yield doing
        else:
            columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), _Rate(unit), TimeRemainingColumn())
            with Progress(*columns, console=Console(file=self._terminal)) as bar:
                task = bar.add_task(name, total=total)
                doing.shown = lambda done: bar.update(task, completed=done)
                yield doing
        self.figures.append(Figure(name, doing.done, unit, time.perf_counter() - began, doing.note))


class Doing:
    """A proof that is under way."""

    def __init__(self) -> None:
        self.done = 0
        self.note = ""
        self.shown: Callable[[int], None] = lambda _done: None

    def advance(self, by: int = 1) -> None:
        self.done += by
        self.shown(self.done)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: ProgressTask) -> Text:
        return Text(f"{task.completed / task.elapsed if task.elapsed else 0:,.0f} {self._unit}/s")


_PROOF = pytest.StashKey[Proof]()


def add_option(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, type=float, default=1.0, help="how many times more the proofs of isolation try")


def configure(config: pytest.Config) -> None:
    """Bars go around the capturing of output, and only where somebody waits for a long run."""
    given: Any = config.getoption(OPTION)
    scale = float(given)
    terminal: IO[str] | None = None
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    if scale > 1 and capture is not None:
        with capture.global_and_fixture_disabled():
            terminal = os.fdopen(os.dup(2), "w")
    config.stash[_PROOF] = Proof(scale, terminal)
    # Properties of pure functions repeat themselves long before the engines do.
    settings.register_profile(PROPERTIES, max_examples=round(500 * min(max(scale, 1), 4)), deadline=None)


def proof_of(config: pytest.Config) -> Proof:
    return config.stash[_PROOF]


def summary(config: pytest.Config) -> None:
    """Print the table of a long run."""
    proof = proof_of(config)
    if proof.scale <= 1 or not proof.figures:
        return
    table = Table(title=f"Isolation at scale {proof.scale:g}", title_justify="left")
    for heading in ("proof", "amount", "seconds", "a second", ""):
        table.add_column(heading, justify="right" if heading in ("amount", "seconds", "a second") else "left")
    for one in proof.figures:
        table.add_row(one.name, f"{one.amount:,} {one.unit}", f"{one.seconds:,.1f}", f"{one.rate:,.0f}", one.note)
    (Console() if sys.stdout.isatty() else Console(width=140)).print(table)
