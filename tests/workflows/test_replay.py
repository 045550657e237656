"""Every committed history is replayed with the workflows of today."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from activities.worker import SANDBOX
from storage.secrets import Secrets
from tests.support.world import SECRET
from tests.workflows.histories import FOLDER, SCENES
from workflows.calls import Calls
from workflows.completion import Completion
from workflows.converter import ENCODING, data_converter
from workflows.ingest import Ingest

HISTORIES = sorted(FOLDER.glob("*.json"))
PLAIN = {"searchAttributes", "activityTaskCanceledEventAttributes"}
"""Where Temporal says something of its own: no activity of ours gives details of its cancellation."""


def _stem(path: Path) -> str:
    return path.stem


def test_every_scene_has_its_histories() -> None:
    assert {path.stem for path in HISTORIES} >= {name for names in SCENES for name in names}


@pytest.mark.parametrize("path", HISTORIES, ids=_stem)
async def test_histories_replay(path: Path) -> None:
    replayer = Replayer(
        workflows=[Calls, Completion, Ingest],
        workflow_runner=SANDBOX,
        data_converter=data_converter(Secrets(SECRET).key("payloads")),
    )

    result = await replayer.replay_workflow(WorkflowHistory.from_json(path.stem, json.loads(path.read_text())))

    assert result.replay_failure is None


@pytest.mark.parametrize("path", HISTORIES, ids=_stem)
def test_histories_hold_no_readable_payload(path: Path) -> None:
    """Search attributes and Temporal's own words are plain; what callers and activities said is not."""
    plain = {
        where
        for where, encoding in _payloads(json.loads(path.read_text()))
        if encoding != ENCODING and not PLAIN.intersection(where) and where[-2:] != ("details", "data")
    }

    assert plain == set()


def _payloads(part: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """Every payload in a history: the names of the fields that lead to it, and its encoding."""
    if isinstance(part, list):
        for item in part:
            yield from _payloads(item, where)
    elif isinstance(part, dict):
        metadata = part.get("metadata")
        if isinstance(metadata, dict) and "encoding" in metadata:
            yield tuple(name for name in where if name != "payloads"), base64.b64decode(metadata["encoding"])
            return
        for name, value in part.items():
            yield from _payloads(value, (*where, name))
