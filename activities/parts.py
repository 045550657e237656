"""What the activities stand on, opened once a process."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from activities.providers.litellm_provider import LiteLLMProvider
from activities.providers.routes import RouteConfig, RouteStates, RouteTable
from storage.cache import Cache
from storage.embeddings import Embedder, MiniLm
from storage.redis_link import RedisLink
from storage.secrets import Secrets
from storage.sql import Database
from storage.uploads import Uploads
from storage.vectors import Vectors


@dataclass(frozen=True)
class Calling:
    """What provider calls stand on: all that a worker needs which does nothing else."""

    routes: RouteTable
    states: RouteStates = field(default_factory=RouteStates)
    provider: LiteLLMProvider = field(default_factory=LiteLLMProvider)


@dataclass(frozen=True)
class Parts:
    """What all the other activities stand on."""

    database: Database
    redis: RedisLink
    cache: Cache
    secrets: Secrets
    uploads: Uploads
    vectors: Vectors
    embedder: Embedder
    calling: Calling

    @classmethod
    async def open(
        cls,
        *,
        database_url: str,
        redis_url: str,
        vectors_url: str,
        uploads_url: str,
        secret: bytes,
        routes: Sequence[RouteConfig] = (),
        calling: Calling | None = None,
    ) -> "Parts":
        """Open them; SQL and Redis are connected when they are first used."""
        secrets, redis = Secrets(secret), RedisLink(redis_url)
        vectors, embedder = await asyncio.gather(Vectors.open(vectors_url), asyncio.to_thread(MiniLm.load))
        return cls(
            database=Database.open(database_url),
            redis=redis,
            cache=Cache(redis, secrets.key("cache")),
            secrets=secrets,
            uploads=Uploads(uploads_url),
            vectors=vectors,
            embedder=embedder,
            calling=calling or Calling(RouteTable(routes)),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self.redis.close()
        await self.database.close()
