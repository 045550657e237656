"""A connection to Redis that work can go on without: short time-outs, and a pause after a failure.

After a failed command nothing is tried for a moment, so that calls don't each wait for a server that is away.
"""

import time
from collections.abc import Sequence
from typing import cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

TIMEOUT = 0.25
"""Seconds that one command may take."""
PAUSE = 2.0
"""Seconds without any try after a failure."""


class RedisLink:
    """Byte values with a lifetime, and whether Redis is there."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT, pause: float = PAUSE) -> None:
        # A command that was cut off drops its connection, or its reply would be read by the next command.
        # Retries would turn one time-out into many; a full pool waits for its turn.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=16,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis.from_pool(pool)
        self._pause = pause
        self._away_until = 0.0

    @property
    def away(self) -> bool:
        """Whether the last command failed and the pause after it is not over."""
        return time.monotonic() < self._away_until

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values in one round trip; none of them while Redis is away."""
        if self.away:
            return [None] * len(keys)
        try:
            return cast(list[bytes | None], await self._redis.mget(keys))
        except (RedisError, OSError):
            self._gone()
            return [None] * len(keys)

    async def put(self, key: str, value: bytes, seconds: int) -> bool:
        """Store a value for so many seconds; False while Redis is away."""
        if self.away:
            return False
        try:
            await self._redis.set(key, value, ex=seconds)
        except (RedisError, OSError):
            self._gone()
            return False
        return True

    async def prolong(self, key: str, seconds: int) -> bool:
        """Give a value that is there another so many seconds; False where there is none, or while Redis is away."""
        if self.away:
            return False
        try:
            return bool(await self._redis.expire(key, seconds))
        except (RedisError, OSError):
            self._gone()
            return False

    async def drop(self, key: str) -> None:
        """Delete a value, if Redis is there."""
        if self.away:
            return
        try:
            await self._redis.delete(key)
        except (RedisError, OSError):
            self._gone()

    async def probe(self) -> bool:
        """Whether Redis answers now; ends the pause if it does."""
        try:
            await self._redis.ping()
        except (RedisError, OSError):
            self._gone()
            return False
        self._away_until = 0.0
        return True

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()

    def _gone(self) -> None:
        self._away_until = time.monotonic() + self._pause
