"""Taking a user's own files in over REST: upload, start, follow. The demo world goes the same way."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from domain.ingestion import DocumentFile, Kind
from mcp_server.client import CallFailed, FrontDoor
from mcp_server.operations import OPERATIONS

Json = dict[str, Any]
Tell = Callable[[str, int, int], None]
"""Told of progress: the step (`upload` or `rows`), how much is done, and of how much."""

DOCUMENT_SUFFIXES = (".md", ".markdown", ".txt")
CHUNK = 256 * 1024
_HOW = {"failed": "failed", "cancelled": "was cancelled"}


class NothingToIngest(Exception):
    """The path holds nothing that could be taken in; the message says what was looked for."""


@dataclass
class Report:
    """What became of the rows. A rejected document is named by its file, a product by its line."""

    accepted: int = 0
    rejected: int = 0
    unchanged: int = 0
    deleted: int = 0
    rejects: list[Json] = field(default_factory=list[Json])

    def json(self) -> Json:
        """As `--json` prints it."""
        return dict(vars(self))


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


def ingest(door: FrontDoor, kind: Kind, path: Path, group: str, level: str | None, tell: Tell) -> Report:
    """Take a products file or a folder of documents in for `group`, and wait until it is done.

    Raises:
        NothingToIngest: there is no such file, or no document below the folder.
        CallFailed: the upload or the ingestion was refused, or stopped before its end.
        DoorAway: nobody answers.
    """
    report = Report()
    if kind == "products":
        content, names = _file(path, tell), None
    else:
        documents = _documents(path)
        names = [name for name, _ in documents]
        content = _lines(documents, report, names, tell)
    upload = door.upload(content)
    given = {"upload_id": upload, "group": group, "access_level": level}
    started = door.call(OPERATIONS[f"{kind}_ingest"], given)
    job = _follow(door, started["data"]["jobId"], tell)
    _add(report, job, names)
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
            stopped = {
                "code": "internal",
                "message": f"The ingestion {_HOW[job['status']]} before its end; what was accepted until then is kept. "
                f"Job {job_id}: {_counts(job['result'])}.",
                "retryable": False,
            }
            raise CallFailed({"success": False, "error": stopped, "metadata": answer["metadata"]})
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def _counts(result: Json | None) -> str:
    return (
        ", ".join(f"{result[name]} {name}" for name in ("accepted", "unchanged", "rejected")) if result else "no rows"
    )


def _add(report: Report, result: Json, names: list[str] | None) -> None:
    for name in ("accepted", "rejected", "unchanged", "deleted"):
        setattr(report, name, getattr(report, name) + result[name])
    for reject in result["rejects"]:
        said = {key: value for key, value in reject.items() if value is not None}
        if names is not None and 1 <= reject["line"] <= len(names):
            said["file"] = names[reject["line"] - 1]
        report.rejects.append(said)


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


def _documents(path: Path) -> list[tuple[str, Path]]:
    """The documents below a folder by their names in it, in order; or the one file itself."""
    if path.is_file():
        return [(path.name, path)]
    found = sorted(each for each in path.rglob("*") if each.suffix.lower() in DOCUMENT_SUFFIXES and each.is_file())
    if not found:
        raise NothingToIngest(f"There is no document below {path}: looked for {', '.join(DOCUMENT_SUFFIXES)}.")
    return [(each.relative_to(path).as_posix(), each) for each in found]


def _lines(documents: list[tuple[str, Path]], report: Report, sent: list[str], tell: Tell) -> Iterator[bytes]:
    """One JSON line a document. What cannot be read as text is rejected here, and `sent` names the lines that went."""
    sent.clear()
    for place, (name, path) in enumerate(documents, 1):
        try:
            line = DocumentFile(name=name, text=path.read_bytes().decode()).model_dump_json() + "\n"
        except (ValueError, OSError) as error:
            report.rejected += 1
            report.rejects.append({"line": place, "file": name, "reason": _why(error)})
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
