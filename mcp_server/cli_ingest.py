"""`cohort ingest`: a progress bar while it runs, a table of what became of the rows at the end."""

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from domain.ingestion import Kind
from mcp_server import cli_made
from mcp_server.client import CallFailed, DoorAway, FrontDoor
from mcp_server.ingest import NothingToIngest, Report, choose_group, ingest

ROWS_REJECTED = 3
_SHOWN = 50
_STEPS = {"upload": "Sending", "rows": "Taking in"}


class _Bars:
    """A bar for each step, as soon as it says something."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        if step not in self._bars:
            self._bars[step] = self._progress.add_task(_STEPS[step], total=total or None)
        self._progress.update(self._bars[step], completed=done, total=total or None)


def run(kind: Kind, path: str, group: str | None, level: str | None, as_json: bool) -> int:
    """Take `path` in; gives the exit code: 0, or 3 where rows were rejected."""
    said = Console(stderr=True)
    loaded = cli_made.settings()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    try:
        with (
            FrontDoor(loaded.url, cli_made.key_of(loaded)) as door,
            Progress(*columns, TimeElapsedColumn(), console=said, disable=as_json or not sys.stderr.isatty()) as bar,
        ):
            owner, override = choose_group(door, group)
            if override:
                door.act_as(owner)
                said.print(
                    f"You are not a direct member of {owner}: acting as it (X-Group-Override), which is audited."
                )
            report = ingest(door, kind, Path(path), owner, level, _Bars(bar))
    except CallFailed as failed:
        cli_made.show(f"{kind}_ingest", failed.body, as_json)
        return cli_made.FAILED
    except DoorAway as away:
        cli_made.fail(str(away), cli_made.FAILED)
    except NothingToIngest as nothing:
        cli_made.fail(str(nothing), cli_made.USAGE)
    if as_json:
        cli_made.print_json(report.json())
    else:
        _show(report, owner)
    return ROWS_REJECTED if report.rejected else 0


def _show(report: Report, owner: str) -> None:
    console = Console()
    summary = Table(title=f"Taken in for {owner}")
    for name in ("accepted", "unchanged", "rejected"):
        summary.add_column(name, justify="right")
    summary.add_row(f"{report.accepted:,}", f"{report.unchanged:,}", f"{report.rejected:,}")
    console.print(summary)
    if not report.rejects:
        return
    rejects = Table(title="Rejected")
    for name in ("line", "id", "field", "reason"):
        rejects.add_column(name, overflow="fold")
    for each in report.rejects[:_SHOWN]:
        place = str(each.get("file", each["line"]))
        rejects.add_row(place, each.get("id", ""), each.get("field", ""), each["reason"])
    console.print(rejects)
    if report.rejected > _SHOWN:
        console.print(f"… and {report.rejected - _SHOWN:,} more; --json lists up to 1,000.")
