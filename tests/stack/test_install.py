"""What an installation on services of its own needs once: `cohort migrate` and `cohort bootstrap`."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from storage.identity import Database, Identity, Secrets
from tests.support.environment import clean_environment

SECRET = bytes(range(32))


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'cohort.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    clean = clean_environment()
    key = base64.b64encode(SECRET).decode()
    return clean | {"COHORT_HOME": str(tmp_path), "COHORT_DATABASE_URL": url, "COHORT_SECRET_KEY": key}


def cohort(settings: dict[str, str], *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mcp_server.cli", *arguments]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done


def told(settings: dict[str, str], *arguments: str) -> dict[str, Any]:
    return json.loads(cohort(settings, *arguments, "--json").stdout)


async def test_the_first_administrator_administers_everything(settings: dict[str, str]) -> None:
    assert [told(settings, "migrate") for _ in range(2)] == [{"changed": True}, {"changed": False}]
    first, second = told(settings, "bootstrap"), told(settings, "bootstrap")
    assert (first["made"], second["made"]) == (["platform", "admin"], [])
    assert first["key"] != second["key"]
    database = Database.open(settings["COHORT_DATABASE_URL"])
    identity = Identity(database, Secrets(SECRET).key("api-keys"))
    for answer in (first, second):
        assert (await identity.verify(answer["key"])).user_id == "admin"
    await database.close()


def test_without_tables_it_says_what_to_do_first(settings: dict[str, str]) -> None:
    done = cohort(settings, "bootstrap", code=2)
    assert "cohort migrate" in done.stderr
    assert not done.stdout
