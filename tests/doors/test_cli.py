"""The command line against the running stack."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from domain.ids import new_id
from mcp_server.ingest import NothingToIngest, ingest
from tests.doors.live import http2, mcp
from tests.doors.reading import live, seen
from tests.support.environment import clean_environment
from tests.support.servers import wait_until
from tests.support.stack import Stack


def cohort(*arguments: str, url: str | None = None, key: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command as a user does."""
    clean = clean_environment()
    own = {"COHORT_URL": url, "COHORT_API_KEY": key, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "mcp_server.cli", *arguments],
        env={**clean, **{name: value for name, value in own.items() if value is not None}},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def as_json(ended: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)


def test_commands_made_from_the_table(running: Stack) -> None:
    key = running.keys["research"]
    found = cohort(
        "products", "search", "tent", "--limit", "2", "--max-price", "500", "--json", url=running.url, key=key
    )
    assert found.returncode == 0
    items = as_json(found)["data"]["items"]
    assert len(items) == 2
    shown = cohort("products", "get", items[0]["id"], url=running.url, key=key)
    assert shown.returncode == 0
    assert items[0]["title"] in shown.stdout
    waterproof = cohort(
        "products", "search", "--attributes", '{"waterproof": true}', "--json", url=running.url, key=key
    )
    assert all(item["attributes"]["waterproof"] for item in as_json(waterproof)["data"]["items"])
    assert "acme-research" in cohort("groups", "list", url=running.url, key=key).stdout
    assert as_json(cohort("health", "--json", url=running.url, key=key))["data"]["status"] == "ok"
    assert as_json(cohort("health", "--json", url=running.url))["data"]["status"] == "ok"


def test_a_failed_call_is_exit_code_1_with_the_reason(running: Stack) -> None:
    key = running.keys["research"]
    missing = cohort("products", "get", "nope", url=running.url, key=key)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "not_found" in missing.stderr
    refused = cohort("products", "search", "--limit", "500", "--json", url=running.url, key=key)
    assert refused.returncode == 1
    assert as_json(refused)["error"]["details"]["fields"][0]["field"] == "limit"


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "says"),
    [
        (["groups", "list"], {}, 2, "COHORT_API_KEY"),
        (["groups", "list"], {"key": "x", "url": "http://127.0.0.1:1"}, 1, "No front door answers"),
        (["health"], {"url": "http://127.0.0.1:1"}, 1, "No front door answers"),
        (["mcp"], {}, 2, "COHORT_API_KEY"),
        (["groups", "list"], {"key": "x", "url": "nonsense"}, 2, "COHORT_URL"),
        (["no-such-command"], {}, 2, "No such command"),
        (["products", "get", ""], {"key": "x"}, 1, "id: must not be empty"),
        (["products", "get", "a/b"], {"key": "x"}, 1, "id: must not be dots alone or hold a slash"),
        (["products", "get", ".."], {"key": "x"}, 1, "id: must not be dots alone or hold a slash"),
        (["complete", "--messages", "hello"], {"key": "x"}, 2, '"role": "user"'),
    ],
)
def test_wrong_usage_and_settings(arguments: list[str], settings: dict[str, str], code: int, says: str) -> None:
    ended = cohort(*arguments, **settings)
    assert ended.returncode == code, ended.stderr
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_products_come_in_and_each_rejected_row_is_named(running: Stack, tmp_path: Path) -> None:
    good, other = f"p-{new_id()}", f"p-{new_id()}"
    row = {"id": good, "title": "A thing", "category": "Test", "price": 5}
    lines = [
        json.dumps(row),
        "{broken",
        json.dumps(row),
        json.dumps({**row, "id": other, "price": -1}),
        json.dumps({**row, "id": other, "colour": "red"}),
    ]
    file = tmp_path / "products.jsonl"
    file.write_text("\n".join(lines))
    key = running.keys["sales"]
    ended = cohort("ingest", "products", str(file), "--group", "acme-sales", "--json", url=running.url, key=key)
    assert ended.returncode == 3, ended.stderr
    report = as_json(ended)
    assert (report["accepted"], report["rejected"], report["unchanged"]) == (1, 4, 0)
    assert [each["line"] for each in report["rejects"]] == [2, 3, 4, 5]
    assert report["rejects"][2]["field"] == "price"
    found = cohort("products", "get", good, "--json", url=running.url, key=key)
    assert as_json(found)["data"]["ownerGroup"] == "acme-sales"
    file.write_text(json.dumps({"id": good, "deleted": True}))
    gone = cohort("ingest", "products", str(file), "--group", "acme-sales", url=running.url, key=key)
    assert gone.returncode == 0, gone.stdout + gone.stderr


def test_documents_come_in_and_unreadable_files_are_named(running: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "note.md").write_text(f"# A note\n\nNothing but a test {new_id()}.")
    (folder / "bad.txt").write_bytes(b"\xff\xfe")
    (folder / "inner" / "broken.md").write_text("---\ntitle: [\n---\nx")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    arguments = ("ingest", "documents", str(folder), "--group", "acme-sales", "--access-level", "internal")
    ended = cohort(*arguments, "--json", url=running.url, key=running.keys["admin"])
    assert ended.returncode == 3, ended.stderr
    assert "acting as it" in ended.stderr
    report = as_json(ended)
    assert (report["accepted"], report["rejected"]) == (1, 2)
    told = {each["file"]: each["reason"] for each in report["rejects"]}
    assert set(told) == {"bad.txt", "inner/broken.md"}
    assert "UTF-8" in told["bad.txt"]
    assert not any("line" in each for each in report["rejects"]), "the lines of the upload are nobody's"
    assert report["skipped"] == ["picture.png"]
    assert report["jobId"] in ended.stderr
    again = cohort(*arguments, url=running.url, key=running.keys["admin"])
    assert columns(again.stdout) == {"accepted": "0", "deleted": "0", "unchanged": "1", "rejected": "2"}
    assert "Skipped 1 file that is not .md, .markdown, .txt: picture.png." in again.stdout
    assert "inner/broken.md" in again.stdout


def columns(shown: str) -> dict[str, str]:
    """The table of the summary that an ingestion ends with."""
    head, _, row = shown.split("\n\n")[1].splitlines()
    return dict(zip(head.split(), row.split(), strict=True))


def test_a_single_file_that_is_no_document_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "e.pdf"
    file.write_bytes(b"%PDF-1.7 Hello")
    door: Any = None  # nothing is sent

    def tell(step: str, done: int, total: int) -> None:
        raise AssertionError("nothing is sent")

    with pytest.raises(NothingToIngest, match=r"e\.pdf is not a document that can be taken in; nothing was sent"):
        ingest(door, "documents", file, "acme-sales", None, tell)


def test_a_group_that_the_administrator_does_not_know_is_refused_before_anything_is_said_of_acting(
    running: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "products.jsonl"
    file.write_text('{"id": "x", "title": "X", "category": "Test", "price": 1}\n')
    ended = cohort("ingest", "products", str(file), "--group", "nope", url=running.url, key=running.keys["admin"])
    assert ended.returncode == 1
    assert "You are no member of a group nope, and administer none. Nothing was sent." in ended.stderr
    assert "--group" in ended.stderr
    assert "verride" not in ended.stderr


def test_ctrl_c_says_that_the_ingestion_goes_on(running: Stack, tmp_path: Path) -> None:
    file = tmp_path / "products.jsonl"
    prefix = f"p-{new_id()}"
    rows = ({"id": f"{prefix}-{at}", "title": f"A thing {at}", "category": "Test", "price": at} for at in range(600))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    key = running.keys["sales"]
    command = [sys.executable, "-m", "mcp_server.cli", "ingest", "products", str(file), "--group", "acme-sales"]
    environment = {**clean_environment(), "COHORT_URL": running.url, "COHORT_API_KEY": key}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as started:
        assert started.stderr is not None
        job = started.stderr.readline().split()[1]
        started.send_signal(signal.SIGINT)
        said = started.stderr.read()
    assert started.returncode == 130
    assert said == f"cohort: The ingestion goes on as job {job}: cohort jobs get {job}\n"

    def ended() -> bool:
        return as_json(cohort("jobs", "get", job, "--json", url=running.url, key=key))["data"]["status"] == "completed"

    wait_until(ended, seconds=120, what="the ingestion")
    shown = cohort("jobs", "get", job, url=running.url, key=key).stdout
    assert "accepted: 600" in shown
    file.write_text("".join(json.dumps({"id": f"{prefix}-{at}", "deleted": True}) + "\n" for at in range(600)))
    gone = cohort("ingest", "products", str(file), "--group", "acme-sales", url=running.url, key=key)
    assert columns(gone.stdout) == {"accepted": "0", "deleted": "600", "unchanged": "0", "rejected": "0"}


async def test_what_is_shown_is_data_as_it_is_and_whole(running: Stack, tmp_path: Path) -> None:
    id = f"whistling-{new_id()}-kettle-with-a-name-that-is-longer-than-any-column-would-be-on-a-screen"
    title = f"<script>alert(1)</script> … | pipe **bold** [x](http://e) [red] {id[:20]}"
    file = tmp_path / "products.jsonl"
    file.write_text(json.dumps({"id": id, "title": title, "category": "Test", "price": 5}))
    key = running.keys["sales"]
    taken = cohort("ingest", "products", str(file), "--group", "acme-sales", url=running.url, key=key)
    assert taken.returncode == 0, taken.stderr
    shown = cohort("products", "search", title, "--limit", "1", url=running.url, key=key).stdout
    assert id in shown
    assert title in shown
    async with http2(running, "sales") as http, mcp(running, http) as client:
        for tool, arguments in (("products_search", {"query": title, "limit": 1}), ("products_get", {"id": id})):
            text = (await client.call_tool(tool, arguments)).content[0].model_dump()["text"]
            assert live(text) == set()
            assert title in seen(text)
    assert " *:*" in cohort("groups", "list", url=running.url, key=running.keys["admin"]).stdout
    file.write_text(json.dumps({"id": id, "deleted": True}))
    cohort("ingest", "products", str(file), "--group", "acme-sales", url=running.url, key=key)


def test_a_completion_takes_messages_several_stops_and_an_idempotency_key(running: Stack) -> None:
    turns = json.dumps([{"role": "user", "content": f"Say hello {new_id()}."}])
    quick = ("--max-tokens", "8", "--no-retrieval-enabled", "--no-products-enabled", "--cache", "off", "--json")
    again = ("--stop", "one", "--stop", "[two", "--idempotency-key", f"k-{new_id()}", *quick)
    key = running.keys["research"]
    first, second = (
        as_json(cohort("complete", "--messages", turns, *again, url=running.url, key=key)) for _ in range(2)
    )
    assert first["success"], first
    assert first["data"] == second["data"]
    blank = cohort("complete", "   ", url=running.url, key=key)
    assert (blank.returncode, "prompt must not be blank" in blank.stderr) == (1, True)


def test_the_version_is_told() -> None:
    ended = cohort("--version")
    assert (ended.returncode, ended.stdout.split()[0]) == (0, "cohort")


def test_ingestion_without_the_right_is_refused(running: Stack, tmp_path: Path) -> None:
    file = tmp_path / "products.jsonl"
    file.write_text('{"id": "x", "title": "X", "category": "Test", "price": 1}\n')
    ended = cohort(
        "ingest", "products", str(file), "--group", "acme-research", url=running.url, key=running.keys["partner"]
    )
    assert ended.returncode == 1
    missing = cohort("ingest", "products", str(tmp_path / "none"), url=running.url, key=running.keys["sales"])
    assert (missing.returncode, "There is no file" in missing.stderr) == (2, True)
