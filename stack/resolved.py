"""Where everything is, once settings and state folder are known."""

import hashlib
import hmac
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

SECRET_BYTES = 32
SOCKET_PATH_BYTES = 100  # the kernel's limit is 108 on Linux and 104 on macOS


@dataclass(frozen=True)
class StateFolder:
    """The layout of `COHORT_HOME`."""

    path: Path

    @property
    def state(self) -> Path:
        """Format number and whether the demo world has been loaded."""
        return self.path / "state.json"

    @property
    def lock(self) -> Path:
        """Held (flock) by the one `cohort up` that uses this folder."""
        return self.path / "lock"

    @property
    def secret(self) -> Path:
        """The master secret: 32 bytes, mode 0600."""
        return self.path / "secret.key"

    @property
    def redis_password(self) -> Path:
        """The embedded Redis server's password, mode 0600."""
        return self.path / "redis.key"

    @property
    def database(self) -> Path:
        """Cohort's own SQLite database."""
        return self.path / "cohort.db"

    @property
    def temporal(self) -> Path:
        """The Temporal dev server's SQLite database."""
        return self.path / "temporal.db"

    @property
    def redis(self) -> Path:
        """Redis's configuration and append-only file."""
        return self.path / "redis"

    @property
    def vectors(self) -> Path:
        """LanceDB's tables."""
        return self.path / "vectors"

    @property
    def uploads(self) -> Path:
        """Files on their way into the catalogue."""
        return self.path / "uploads"

    @property
    def logs(self) -> Path:
        """One log a process."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """What holds only while the stack runs: sockets, and `up.json` with the processes."""
        return self.path / "run"

    @property
    def up(self) -> Path:
        """The running stack: its process ids, and whether it is ready."""
        return self.run / "up.json"

    @property
    def demo(self) -> Path:
        """URLs and keys of the demo world, mode 0600."""
        return self.path / "demo.json"

    @property
    def redis_socket(self) -> Path:
        """The embedded Redis server's socket: below `run`, or below the temporary folder if that path is too long."""
        socket = self.run / "redis.sock"
        if len(os.fsencode(socket)) <= SOCKET_PATH_BYTES:
            return socket
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"cohort-{os.getuid()}-{name}" / "redis.sock"


@dataclass(frozen=True, repr=False)
class Resolved:
    """Concrete addresses of everything. Its repr shows none of them, since some hold a password."""

    folder: StateFolder
    url: str
    temporal_address: str
    temporal_ui: str
    temporal_namespace: str
    database_url: str
    redis_url: str
    vectors_url: str
    uploads_url: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Resolved(folder={str(self.folder.path)!r})"

    @property
    def codec_token(self) -> str:
        """The unguessable part of the codec endpoint's path, which the Temporal UI is given."""
        return hmac.new(self.secret, b"codec-endpoint", hashlib.sha256).hexdigest()[:32]

    @property
    def codec_endpoint(self) -> str:
        """Where the Temporal UI has payloads decoded: `/decode` and `/encode` below it."""
        return f"{self.url}/codec/{self.codec_token}"


def embedded_redis_url(folder: StateFolder) -> str:
    """The URL of the embedded Redis server; its password is there once the folder has been prepared."""
    password = read_secret(folder.redis_password)
    login = f":{password.decode()}@" if password else ""
    return f"unix://{login}{quote(str(folder.redis_socket))}"


def read_secret(path: Path) -> bytes | None:
    """The content of a secret file, or None if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
