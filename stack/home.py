"""The state folder: made, locked, and checked to be one that this version can use."""

import contextlib
import fcntl
import json
import os
import re
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import Any

from stack.resolved import SECRET_BYTES, StateFolder

FORMAT = 1
"""Raised when the layout of the state folder changes in a way that older versions cannot read."""


class CannotStart(Exception):
    """Why nothing was started, and what to do about it: one sentence for the user."""


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, in one step: after a crash it is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def make(folder: StateFolder) -> None:
    """Make the state folder and what belongs in it from the start.

    Raises:
        CannotStart: it cannot be written.
    """
    try:
        folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for part in (folder.logs, folder.run, folder.redis, folder.uploads):
            part.mkdir(exist_ok=True, mode=0o700)
        folder.lock.touch(mode=0o600)
    except OSError as error:
        raise CannotStart(
            f"The state folder {folder.path} cannot be written ({error.strerror}): "
            "make it writable, or choose another with COHORT_HOME."
        ) from None


@contextlib.contextmanager
def locked(folder: StateFolder) -> Generator[None]:
    """Hold the state folder for this process; the kernel lets go of it however the process ends.

    Raises:
        CannotStart: another process holds it.
    """
    with folder.lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read().strip() or "unknown"
            raise CannotStart(
                f"Another `cohort up` (process {holder}) already runs on {folder.path}: "
                "stop it first, or choose another folder with COHORT_HOME."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def read_state(folder: StateFolder) -> dict[str, Any]:
    """What `state.json` says; empty for a new folder.

    Raises:
        CannotStart: it was written by a newer version, or is not readable.
    """
    try:
        state = json.loads(folder.state.read_bytes())
        written = int(state["format"])
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError):
        raise CannotStart(
            f"{folder.state} is damaged: restore it from a backup, or move {folder.path} away to begin anew."
        ) from None
    if written > FORMAT:
        raise CannotStart(
            f"The state folder {folder.path} was written by a newer version of Cohort (format {written}, this version "
            f"knows {FORMAT}): update Cohort, or choose another folder with COHORT_HOME."
        )
    return state


def write_state(folder: StateFolder, **changes: object) -> None:
    """Merge `changes` into `state.json`."""
    state = {**read_state(folder), "format": FORMAT, **changes}
    write_private(folder.state, json.dumps(state, indent=2).encode())


def make_secrets(folder: StateFolder, *, own_secret: bool = False) -> None:
    """Make the master secret and Redis's password, once; they stay the same over restarts.

    With `own_secret` the master secret is in the settings: one in the folder would be taken for it later.

    Raises:
        CannotStart: there is no master secret, and what an earlier one protects is there.
    """
    if not own_secret and not folder.secret.exists():
        if folder.database.exists() or folder.state.exists():
            raise CannotStart(
                f"The master secret {folder.secret} is gone, and a new one would make every API key invalid; nothing "
                "was changed. Restore it from a backup, or set COHORT_SECRET_KEY if it was there. To begin anew "
                f"without your data, move {folder.path} away."
            )
        write_private(folder.secret, secrets.token_bytes(SECRET_BYTES))
    if not _is_a_password(folder.redis_password):
        write_private(folder.redis_password, secrets.token_urlsafe(32).encode())


def _is_a_password(path: Path) -> bool:
    """Whether it can stand in Redis's configuration. One that can't is made anew, as nothing depends on the old one."""
    try:
        return re.fullmatch(rb"[A-Za-z0-9_-]{16,}", path.read_bytes()) is not None
    except FileNotFoundError:
        return False
