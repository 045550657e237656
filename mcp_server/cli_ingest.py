"""`cohort ingest`: a progress bar while it runs, a table of what became of the rows at the end."""

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from domain.ingestion import Kind
from mcp_server import cli_made
from mcp_server.client import CallFailed, DoorAway, FrontDoor
from mcp_server.ingest import COUNTS, DOCUMENT_SUFFIXES, NothingToIngest, Report, act_as, choose_group, ingest

ROWS_REJECTED = 3
INTERRUPTED = 130
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
    console = Console(stderr=True)
    loaded = cli_made.settings()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    jobs: list[str] = []

    def say(sentence: str) -> None:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def started(job_id: str) -> None:
        jobs.append(job_id)
        say(f"Job {job_id} takes it in; cohort jobs get {job_id} shows how far it is.")

    try:
        with (
            FrontDoor(loaded.url, cli_made.key_of(loaded)) as door,
            Progress(*columns, TimeElapsedColumn(), console=console, disable=as_json or not sys.stderr.isatty()) as bar,
        ):
            owner, override = choose_group(door, group)
            if override:
                act_as(door, owner)
                say(f"You are not a direct member of {owner}: acting as it (X-Group-Override), which is audited.")
            report = ingest(door, kind, Path(path), owner, level, _Bars(bar), started)
    except CallFailed as failed:
        cli_made.show(f"{kind}_ingest", failed.body, as_json)
        return cli_made.FAILED
    except DoorAway as away:
        cli_made.fail(str(away), cli_made.FAILED)
    except NothingToIngest as nothing:
        cli_made.fail(str(nothing), cli_made.USAGE)
    except KeyboardInterrupt:
        cli_made.fail(_interrupted(jobs), INTERRUPTED)
    if as_json:
        cli_made.print_json(report.json())
    else:
        sys.stdout.write(_summary(report, owner) + "\n")
    return ROWS_REJECTED if report.rejected else 0


def _interrupted(jobs: list[str]) -> str:
    if jobs:
        return f"The ingestion goes on as job {jobs[0]}: cohort jobs get {jobs[0]}"
    return (
        "Interrupted before an ingestion was known to have started. Run the command again: rows that are there already "
        "count as unchanged."
    )


def _summary(report: Report, owner: str) -> str:
    style = cli_made.style_for(sys.stdout)
    names = sorted(COUNTS, key="rejected".__eq__)  # bad news last, next to what it is about
    parts = [f"Taken in for {owner}:", style.table(names, [[f"{report.counts[name]:,}" for name in names]])]
    if report.rejects:
        rows = [
            [style.text(each.get(name, "")) for name in (_place(each), "id", "field", "reason")]
            for each in report.rejects[:_SHOWN]
        ]
        parts.append("Rejected:\n\n" + style.table([_place(report.rejects[0]), "id", "field", "reason"], rows))
        if report.rejected > _SHOWN:
            parts.append(f"… and {report.rejected - _SHOWN:,} more; --json lists up to 1,000.")
    if report.skipped:
        shown = ", ".join(map(style.text, report.skipped[:_SHOWN]))
        more = f" and {len(report.skipped) - _SHOWN:,} more" if len(report.skipped) > _SHOWN else ""
        files = "1 file that is" if len(report.skipped) == 1 else f"{len(report.skipped):,} files that are"
        parts.append(f"Skipped {files} not {', '.join(DOCUMENT_SUFFIXES)}: {shown}{more}.")
    return "\n\n".join(parts)


def _place(reject: cli_made.Json) -> str:
    return "file" if "file" in reject else "line"
