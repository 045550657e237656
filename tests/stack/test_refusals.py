"""What stands in the way is said in one sentence, before anything is started: exit code 2."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stack.home import FORMAT, locked, make, make_secrets
from stack.resolved import StateFolder, embedded_redis_url
from tests.support.stack import environment

REPOSITORY = Path(__file__).parents[2]


def refused(settings: dict[str, str], *, folder: Path = REPOSITORY) -> str:
    """Run `cohort up` in a folder, which must refuse; gives its one sentence."""
    done = subprocess.run(
        [sys.executable, "-m", "stack.up"],
        check=False,
        env={**settings, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
    )
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("cohort: ")
    assert done.stderr.count("\n") == 1
    home = StateFolder(Path(settings["COHORT_HOME"]))
    assert not home.logs.exists() or not list(home.logs.iterdir()), "something was started"
    return done.stderr


@pytest.mark.parametrize("name", ["COHORT_PORT", "COHORT_TEMPORAL_PORT", "COHORT_TEMPORAL_UI_PORT"])
def test_a_taken_port(name: str, tmp_path: Path) -> None:
    settings = environment(tmp_path)
    with socket.create_server(("127.0.0.1", int(settings[name]))):
        said = refused(settings)
    assert f"Port {settings[name]} is taken by" in said
    assert f"process {os.getpid()}" in said
    assert name in said


def test_two_settings_with_the_same_port(tmp_path: Path) -> None:
    settings = environment(tmp_path)
    settings["COHORT_PORT"] = settings["COHORT_TEMPORAL_PORT"]
    assert "COHORT_PORT and COHORT_TEMPORAL_PORT are both" in refused(settings)


def test_a_host_that_is_not_ours(tmp_path: Path) -> None:
    assert "COHORT_HOST" in refused(environment(tmp_path, COHORT_HOST="192.0.2.1"))


def test_an_unknown_setting(tmp_path: Path) -> None:
    assert "did you mean COHORT_PORT?" in refused(environment(tmp_path, COHORT_PORTS="1"))


def test_a_state_folder_of_a_newer_version(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"format": FORMAT + 1}))
    assert "written by a newer version of Cohort" in refused(environment(tmp_path))


def test_a_damaged_state_file(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    assert "is damaged" in refused(environment(tmp_path))


def keep_a_secret(home: Path) -> None:
    """What every folder has that was started once."""
    (home / "secret.key").write_bytes(os.urandom(32))


def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    keep_a_secret(tmp_path)
    with sqlite3.connect(tmp_path / "cohort.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")
    database.close()
    assert "written by a newer version of Cohort" in refused(environment(tmp_path))


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    keep_a_secret(tmp_path)
    (tmp_path / "cohort.db").write_text("this is not a database, but it is long enough to look like one" * 20)
    assert "cannot be used" in refused(environment(tmp_path))


@pytest.mark.parametrize("kept", ["cohort.db", "state.json"])
def test_a_lost_master_secret_is_not_replaced(kept: str, tmp_path: Path) -> None:
    (tmp_path / kept).write_text(json.dumps({"format": FORMAT}) if kept == "state.json" else "")
    said = refused(environment(tmp_path))
    assert f"The master secret {tmp_path / 'secret.key'} is gone" in said
    assert "Restore it from a backup" in said
    assert not (tmp_path / "secret.key").exists()


@pytest.mark.parametrize("content", [b"", b"too short", bytes(33)])
def test_a_damaged_master_secret(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes(content)
    said = refused(environment(tmp_path))
    assert f"secret.key is damaged ({len(content)} bytes instead of 32)" in said
    assert (tmp_path / "secret.key").read_bytes() == content


def test_a_master_secret_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret.key").mkdir()
    assert "secret.key cannot be read" in refused(environment(tmp_path))


def test_a_master_secret_of_the_settings_leaves_none_in_the_folder(tmp_path: Path) -> None:
    """It would be taken for the right one as soon as the setting is gone."""
    home = StateFolder(tmp_path)
    make(home)
    make_secrets(home, own_secret=True)
    assert not home.secret.exists()


def test_a_damaged_redis_password_is_made_anew(tmp_path: Path) -> None:
    home = StateFolder(tmp_path)
    make(home)
    make_secrets(home)
    kept = home.redis_password.read_bytes()
    make_secrets(home)
    assert home.redis_password.read_bytes() == kept
    home.redis_password.write_bytes(b"\xff two words\n")
    make_secrets(home)
    assert embedded_redis_url(home).count("@") == 1


def test_an_address_that_is_none(tmp_path: Path) -> None:
    said = refused(environment(tmp_path, COHORT_REDIS_URL="foo"))
    assert said == ("cohort: COHORT_REDIS_URL cannot be used: it must begin with redis://, rediss:// or unix://.\n")


def test_a_key_that_a_route_names_and_nobody_has_set(tmp_path: Path) -> None:
    route = {"name": "mine", "model": "openai/gpt-4o-mini", "api_key_env": "NO_SUCH_KEY"}
    said = refused(environment(tmp_path, COHORT_PROVIDERS=json.dumps([route])))
    assert "NO_SUCH_KEY is not set, which COHORT_PROVIDERS names for the key of the route mine" in said


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        (b"COHORT_DEMO=false\nCOHORT_MODEL=caf\xe9\n", "line 2", "not UTF-8"),
        (b"COHORT_DEMO=false\n\n\nsk-hidden is my key\n", "line 4", "write NAME=value"),
        (b"sk-hidden of mine\nA=1\nB='sk-hidden\n", "lines 1, 3", "write NAME=value"),
    ],
)
def test_an_env_file_that_cannot_be_read(content: bytes, place: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(content)
    said = refused(environment(tmp_path / "home"), folder=tmp_path)
    assert f"{tmp_path / '.env'}, {place}" in said
    assert reason in said
    assert "hidden" not in said


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("")
    said = refused(environment(home))
    assert "cannot be written" in said
    assert "COHORT_HOME" in said


def test_another_one_on_the_same_home(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    make(folder)
    with locked(folder):
        said = refused(environment(tmp_path))
    assert f"Another `cohort up` (process {os.getpid()}) already runs on {tmp_path}" in said


def test_the_folder_is_free_once_its_holder_is_gone(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    make(folder)
    code = f"""
import sys, time
from pathlib import Path
from stack.home import locked
from stack.resolved import StateFolder
with locked(StateFolder(Path({str(tmp_path)!r}))):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=REPOSITORY)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGKILL)
    with locked(folder):
        pass


def test_servers_of_your_own_that_do_not_answer(tmp_path: Path) -> None:
    begun = time.monotonic()
    assert "COHORT_TEMPORAL_ADDRESS" in refused(environment(tmp_path, COHORT_TEMPORAL_ADDRESS="127.0.0.1:1"))
    assert "COHORT_REDIS_URL" in refused(environment(tmp_path, COHORT_REDIS_URL="redis://127.0.0.1:1"))
    said = refused(environment(tmp_path, COHORT_DATABASE_URL="postgresql+asyncpg://u:hidden@127.0.0.1:1/db"))
    assert "COHORT_DATABASE_URL" in said
    assert "hidden" not in said
    assert time.monotonic() - begun < 60
