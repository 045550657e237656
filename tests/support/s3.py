"""A real S3 server (SeaweedFS) on loopback with one bucket, in a folder of its own."""

import contextlib
import json
import random
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.servers import wait_until

KEY, SECRET = "test-key", "test-secret-of-some-length"


@dataclass(frozen=True)
class S3:
    """Where it is, and the environment in which clients find it."""

    url: str
    bucket: str

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT": self.url,
            "AWS_ALLOW_HTTP": "true",
        }


@contextlib.contextmanager
def s3_server(folder: Path) -> Generator[S3]:
    """Start it, wait until it answers, and end it."""
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    who = {"name": "test", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": actions}
    (folder / "s3.json").write_text(json.dumps({"identities": [who]}))
    (folder / "data").mkdir()
    ports = dict(zip(("master", "volume", "filer", "s3"), _ports(4), strict=True))
    command = [
        str(Path(sys.executable).parent / "weed"),
        "server",
        *("-dir=" + str(folder / "data"), "-ip=127.0.0.1", "-s3", f"-s3.config={folder / 's3.json'}", "-volume.max=20"),
        *(f"-{name}.port={port}" for name, port in ports.items()),
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            s3 = S3(f"http://127.0.0.1:{ports['s3']}", "tests")
            wait_until(lambda: _answers(f"{s3.url}/healthz"), seconds=60, what=f"the S3 server, see {folder / 'log'}")
            made = httpx.post(f"http://127.0.0.1:{ports['filer']}/buckets/{s3.bucket}/")
            made.raise_for_status()
            yield s3
        finally:
            process.kill()


def _ports(many: int) -> list[int]:
    """Free ports whose ports 10,000 above, where SeaweedFS speaks gRPC, are free as well."""
    found: list[int] = []
    while len(found) < many:
        port = random.randint(20_000, 50_000)
        if port not in found and _free(port) and _free(port + 10_000):
            found.append(port)
    return found


def _free(port: int) -> bool:

    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=1).status_code == 200
    return False
