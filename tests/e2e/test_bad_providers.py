"""Providers that refuse, hang or answer garbage, as callers of the whole stack meet them, over both doors."""

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doors.live import QUICK, QUICK_FLAT, rest, tool
from tests.support.provider import KEY, provider_server
from tests.support.stack import Stack, environment, running_stack

TIMEOUT = 2
MANNERS = {"refuses": "status-401", "fails": "status-500", "hangs": "hang", "babbles": "junk", "answers": "good"}
"""Routes by what their provider does."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with the test provider's routes, and its administrator's key."""
    home = tmp_path_factory.mktemp("providers")
    with provider_server() as provider:
        routes = [
            {
                "name": name,
                "model": f"openai/{manner}",
                "api_base": provider.url,
                "api_key_env": "TEST_PROVIDER_KEY",
                "timeout": TIMEOUT,
            }
            for name, manner in MANNERS.items()
        ]
        settings = {"COHORT_DEMO": "false", "COHORT_PROVIDERS": json.dumps(routes), "TEST_PROVIDER_KEY": KEY}
        with running_stack(home, **settings) as stack:
            yield dataclasses.replace(stack, keys={"admin": _bootstrap(home)})


def _bootstrap(home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mcp_server.cli", "bootstrap", "--json"],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)["key"]


@pytest.mark.parametrize(
    ("model", "retryable", "says"),
    [
        ("refuses", False, "operator"),
        ("fails", True, "Try again"),
        ("hangs", True, "in time"),
        ("babbles", True, "Try again"),
    ],
)
async def test_a_bad_provider_is_said_plainly_over_both_doors(
    shop: Stack, model: str, retryable: bool, says: str
) -> None:
    began = time.monotonic()
    with rest(shop, "admin") as http:
        answer = http.post("/api/v1/completions", json={"data": {"prompt": "Well?", "model": model, **QUICK}})
    over_mcp = await tool(shop, "admin", "completions_create", {"prompt": "Well?", "model": model, **QUICK_FLAT})

    assert answer.status_code == 503
    for envelope in (answer.json(), over_mcp):
        error = envelope["error"]
        assert envelope["success"] is False
        assert error["code"] == "provider_unavailable"
        assert error["retryable"] is retryable
        assert says in error["message"]
        assert KEY not in json.dumps(envelope)
    assert time.monotonic() - began < 2 * 3 * (TIMEOUT + 3)


async def test_the_next_call_is_none_the_worse(shop: Stack) -> None:
    asked: dict[str, Any] = {"prompt": "Well?", "model": "answers"}
    with rest(shop, "admin") as http:
        answer = http.post("/api/v1/completions", json={"data": {**asked, **QUICK}}).json()
    assert answer["data"]["text"] == "An answer."
    again = await tool(shop, "admin", "completions_create", {**asked, **QUICK_FLAT})
    assert again["data"]["text"] == "An answer."
    assert again["metadata"]["cached"] is True
