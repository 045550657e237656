"""The embedded Redis server: its configuration and its command."""

from stack.home import CannotStart, write_private
from stack.programs import redis_server
from stack.resolved import StateFolder, read_secret

LIMITS = {"maxmemory": "512mb", "maxmemory-policy": "volatile-lru"}
"""What has no expiry (events) is never evicted. `docker-compose.yml` gives its Redis the same."""


def prepare(folder: StateFolder) -> list[str]:
    """Write the configuration and give the command.

    The password is in the file (mode 0600) and not in the command line, which every user of the machine can read.
    """
    socket = folder.redis_socket
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if socket.parent.stat().st_uid != folder.path.stat().st_uid:
        raise CannotStart(f"{socket.parent} belongs to someone else: remove it, or choose a shorter COHORT_HOME.")
    password = (read_secret(folder.redis_password) or b"").decode()
    lines = [
        "port 0",
        f'unixsocket "{socket}"',
        "unixsocketperm 600",
        f'dir "{folder.redis}"',
        f"requirepass {password}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        *(f"{name} {value}" for name, value in LIMITS.items()),
        "daemonize no",
        "loglevel notice",
    ]
    configuration = folder.redis / "redis.conf"
    write_private(configuration, "\n".join([*lines, ""]).encode())
    return [str(redis_server()), str(configuration)]
