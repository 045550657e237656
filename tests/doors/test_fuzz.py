"""The OpenAPI document against the running door: answers match it, and nothing generated is a fault of ours."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.stack import Stack

# A generated token or group is well formed and still not one that the caller may use: the schema cannot say which.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,negative_data_rejection,unsupported_method,ignored_auth"
)


def test_generated_requests_are_answered_as_documented(running: Stack, tmp_path: Path) -> None:
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program is not None
    ended = subprocess.run(
        [
            program,
            "run",
            f"{running.url}/openapi.json",
            f"--header=X-API-Key: {running.keys['research']}",
            "--exclude-operation-id=completions_create",  # the small model would take minutes
            f"--checks={CHECKS}",
            "--phases=examples,coverage,fuzzing",
            "--max-examples=10",
            "--request-timeout=30",
            "--workers=2",
            "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-6_000:]
