"""Taking a user's own files in over REST: upload, start, follow. The demo world goes the same way."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from domain.errors import ErrorCode
from domain.ingestion import DocumentFile, IngestCounts, Kind
from mcp_server.client import CallFailed, FrontDoor
from mcp_server.operations import OPERATIONS

Json = dict[str, Any]
Tell = Callable[[str, int, int], None]
"""Told of progress: the step (`upload` or `rows`), how much is done, and of how much."""

DOCUMENT_SUFFIXES = (".md", ".markdown", ".txt")
CHUNK = 256 * 1024
COUNTS = tuple(name for name, info in IngestCounts.model_fields.items() if info.annotation is int)
"""Everything that a job counts."""
_HOW = {"failed": "failed", "cancelled": "was cancelled"}


class NothingToIngest(Exception):
    """The path holds nothing that could be taken in; the message says what was looked for."""


@dataclass
class Report:
    """What became of the rows. A rejected document is named by its file, a product by its line.

    `skipped` names the files of a folder that are no documents by their names; hidden ones are not looked at.
    """

    job_id: str = ""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    rejects: list[Json] = field(default_factory=list[Json])
    skipped: list[str] = field(default_factory=list[str])

    @property
    def rejected(self) -> int:
        """How many rows were rejected, here or by the job."""
        return self.counts["rejected"]

    def json(self) -> Json:
        """As `--json` prints it."""
        return {**self.counts, "jobId": self.job_id, "rejects": self.rejects, "skipped": self.skipped}


def choose_group(door: FrontDoor, group: str | None) -> tuple[str, bool]:
    """The group to own what is taken in, and whether the caller acts as it: an administrator who is no direct member.

    Raises:
        NothingToIngest: no group was given and the caller is in several.
    """
    listed = door.call(OPERATIONS["groups_list"], {})["data"]["groups"]
    direct = [each["id"] for each in listed if each["direct"]]
    if group is None:
        if len(direct) != 1:
            raise NothingToIngest(f"Say with --group which of your groups is to own it: {', '.join(direct)}.")
        return direct[0], False
    administers = any(each["adminLevel"] >= 2 for each in listed if each["direct"])
    return group, administers and group not in direct


def act_as(door: FrontDoor, group: str) -> None:
    """Let every further call act as a group that the caller administers, once the front door has agreed to that.

    Raises:
        CallFailed: it has not; the caller named the group with --group, and that is what the message speaks of.
    """
    door.act_as(group)
    try:
        door.call(OPERATIONS["groups_list"], {})
    except CallFailed as refused:
        error = refused.body["error"]
        if error["code"] != ErrorCode.FORBIDDEN.value:
            raise
        message = (
            f"You are no member of a group {group}, and administer none. Nothing was sent. Name another with --group: "
            "`cohort groups list` shows yours."
        )
        raise CallFailed({**refused.body, "error": {**error, "message": message}}) from None


def ingest(
    door: FrontDoor,
    kind: Kind,
    path: Path,
    group: str,
    level: str | None,
    tell: Tell,
    started: Callable[[str], None] = lambda _: None,
) -> Report:
    """Take a products file or a folder of documents in for `group`, and wait until it is done.

    `started` is told the job's id as soon as there is one: from then on the ingestion goes on without this process.

    Raises:
        NothingToIngest: there is no such file, it is no document, or there is none below the folder.
        CallFailed: the upload or the ingestion was refused, or stopped before its end.
        DoorAway: nobody answers.
    """
    report = Report()
    if kind == "products":
        content, names = _file(path, tell), None
    else:
        documents, report.skipped = _documents(path)
        names = [name for name, _ in documents]
        content = _lines(documents, report, names, tell)
    upload = door.upload(content)
    given = {"upload_id": upload, "group": group, "access_level": level}
    report.job_id = door.call(OPERATIONS[f"{kind}_ingest"], given)["data"]["jobId"]
    started(report.job_id)
    _add(report, _follow(door, report.job_id, tell), names)
    return report


def _follow(door: FrontDoor, job_id: str, tell: Tell) -> Json:
    pause = 0.1
    while True:
        answer = door.call(OPERATIONS["jobs_get"], {"id": job_id})
        job = answer["data"]
        tell("rows", job["progress"]["done"], job["progress"]["total"])
        if job["status"] == "completed":
            return job["result"]
        if job["status"] in _HOW:
            why = job.get("error") or {"code": "internal", "message": "", "retryable": False}
            message = (
                f"The ingestion {_HOW[job['status']]} before its end; what was accepted until then is kept. "
                f"{why['message']} "
                f"Job {job_id}: {_counts(job['result'])}."
            )
            stopped = {**why, "message": " ".join(message.split())}
            raise CallFailed({"success": False, "error": stopped, "metadata": answer["metadata"]})
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def _counts(result: Json | None) -> str:
    return ", ".join(f"{result[name]} {name}" for name in COUNTS) if result else "no rows"


def _add(report: Report, result: Json, names: list[str] | None) -> None:
    for name in COUNTS:
        report.counts[name] += result[name]
    for reject in result["rejects"]:
        said = {key: value for key, value in reject.items() if value is not None}
        if names is not None:
            said = _by_file(said, names)
        report.rejects.append(said)


def _by_file(reject: Json, names: list[str]) -> Json:
    """A rejected document as its owner knows it: the lines of the upload are ours, his are the files."""

    def named(line: int) -> str:
        return names[line - 1] if 1 <= line <= len(names) else f"file {line}"

    reason = re.sub(r"\bline (\d+) has", lambda found: f"{named(int(found[1]))} has", reject["reason"])
    rest = {name: value for name, value in reject.items() if name != "line"}
    return {"file": named(reject["line"]), **rest, "reason": reason}


def _file(path: Path, tell: Tell) -> Iterator[bytes]:
    if not path.is_file():
        raise NothingToIngest(f"There is no file {path}. Give a JSON Lines file with one product a line.")
    size = path.stat().st_size
    if size == 0:
        raise NothingToIngest(f"{path} is empty. Give a JSON Lines file with one product a line.")
    return _chunks(path, size, tell)


def _chunks(path: Path, size: int, tell: Tell) -> Iterator[bytes]:
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            done += len(chunk)
            tell("upload", done, size)
            yield chunk


def _documents(path: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """The documents below a folder, in order, or the one file itself; then the names of the files passed over."""
    wanted = ", ".join(DOCUMENT_SUFFIXES)
    if path.is_file():
        if not _is_document(path):
            raise NothingToIngest(f"{path} is not a document that can be taken in; nothing was sent. Give {wanted}.")
        return [(path.name, path)], []
    files = sorted(each for each in path.rglob("*") if each.is_file())
    found = [(each.relative_to(path).as_posix(), each) for each in files if _is_document(each)]
    if not found:
        raise NothingToIngest(f"There is no document below {path}: looked for {wanted}.")
    others = (each.relative_to(path) for each in files if not _is_document(each))
    return found, [each.as_posix() for each in others if not any(part.startswith(".") for part in each.parts)]


def _is_document(path: Path) -> bool:
    return path.suffix.lower() in DOCUMENT_SUFFIXES


def _lines(documents: list[tuple[str, Path]], report: Report, sent: list[str], tell: Tell) -> Iterator[bytes]:
    """One JSON line a document. What cannot be read as text is rejected here, and `sent` names the lines that went."""
    sent.clear()
    for place, (name, path) in enumerate(documents, 1):
        try:
            line = DocumentFile(name=name, text=path.read_bytes().decode()).model_dump_json() + "\n"
        except (ValueError, OSError) as error:
            report.counts["rejected"] += 1
            report.rejects.append({"file": name, "reason": _why(error)})
            continue
        sent.append(name)
        tell("upload", place, len(documents))
        yield line.encode()
    if not sent:
        raise NothingToIngest(f"None of the {len(documents)} documents could be read: {report.rejects[0]['reason']}.")


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"is not valid UTF-8 at byte {error.start}"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return "is too long: 2,000,000 characters are accepted, and 512 for its name"
