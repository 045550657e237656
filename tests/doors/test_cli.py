"""The command line against the running stack."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from domain.ids import new_id
from tests.support.environment import clean_environment
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
    (folder / "picture.png").write_bytes(b"\x89PNG")
    arguments = ("ingest", "documents", str(folder), "--group", "acme-sales", "--access-level", "internal")
    ended = cohort(*arguments, "--json", url=running.url, key=running.keys["admin"])
    assert ended.returncode == 3, ended.stderr
    assert "acting as it" in ended.stderr
    report = as_json(ended)
    assert (report["accepted"], report["rejected"]) == (1, 1)
    assert report["rejects"][0]["file"] == "bad.txt"
    assert "UTF-8" in report["rejects"][0]["reason"]
    again = cohort(*arguments, url=running.url, key=running.keys["admin"])
    assert "unchanged" in again.stdout


def test_ingestion_without_the_right_is_refused(running: Stack, tmp_path: Path) -> None:
    file = tmp_path / "products.jsonl"
    file.write_text('{"id": "x", "title": "X", "category": "Test", "price": 1}\n')
    ended = cohort(
        "ingest", "products", str(file), "--group", "acme-research", url=running.url, key=running.keys["partner"]
    )
    assert ended.returncode == 1
    missing = cohort("ingest", "products", str(tmp_path / "none"), url=running.url, key=running.keys["sales"])
    assert (missing.returncode, "There is no file" in missing.stderr) == (2, True)
