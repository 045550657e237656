"""The table: a line for each case of each probe, a column for each gateway."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from bench.isolation.finding import Finding, Verdict

_STYLES = {Verdict.HOLDS: "green", Verdict.LEAKS: "red", Verdict.NOT_OFFERED: "dim", Verdict.NOT_MEASURED: "yellow"}


@dataclass(frozen=True)
class Column:
    """What was found of one gateway: `name` with its version, `setting` says how it was run."""

    name: str
    setting: str
    findings: Sequence[Finding]

    def at(self, line: tuple[str, str]) -> Finding | None:
        """The finding of a line, if this gateway has one."""
        return next((finding for finding in self.findings if (finding.probe, finding.case) == line), None)

    def json(self) -> dict[str, Any]:
        """For `--json`."""
        found = [finding.json() for finding in self.findings]
        return {"gateway": self.name, "setting": self.setting, "findings": found}


def lines(columns: Sequence[Column]) -> list[tuple[str, str]]:
    """Probe and case of each line, in the order of the probes."""
    ordered = dict.fromkeys((finding.probe, finding.case) for column in columns for finding in column.findings)
    probes = list(dict.fromkeys(probe for probe, _ in ordered))
    return sorted(ordered, key=lambda line: probes.index(line[0]))


def table(columns: Sequence[Column]) -> Table:
    """For the screen."""
    made = Table(title="Isolation, as measured", title_justify="left", show_lines=True, caption_justify="left")
    made.caption = "\n".join(f"{column.name}: {column.setting}." for column in columns)
    made.add_column("")
    for column in columns:
        made.add_column(column.name, overflow="fold")
    for line in lines(columns):
        made.add_row(f"{line[0]}:\n{line[1]}", *(_cell(column.at(line)) for column in columns))
    return made


def markdown(columns: Sequence[Column]) -> str:
    """For the README."""
    rows = [["", *(column.name for column in columns)], ["---"] * (1 + len(columns))]
    for line in lines(columns):
        found = [column.at(line) for column in columns]
        rows.append([": ".join(line), *("-" if f is None else f"**{f.verdict}**: {f.figure}" for f in found)])
    written = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*written, "", *(f"- {column.name}: {column.setting}." for column in columns)])


def _cell(finding: Finding | None) -> str:
    if finding is None:
        return "-"
    return f"[{_STYLES[finding.verdict]}]{finding.verdict}[/]: {finding.figure}"
