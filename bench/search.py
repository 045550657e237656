"""Product search through the whole stack, against bare LanceDB hybrid search on the same table with the same filter."""

import itertools
import json
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote

import lancedb
from lancedb.query import MatchQuery
from lancedb.rerankers import RRFReranker

from bench.load import Call, Connection, closed_loop
from bench.stack import Running
from storage.embeddings import MiniLm

QUERIES = (
    "keeps coffee hot on a winter hike",
    "warm sleeping bag under 800 g",
    "read in the tent without waking my partner",
    "torque wrench",
    "charge a phone in the mountains",
    "waterproof jacket",
    "fix a leaking mattress",
    "lantern",
)
LIMIT = 20
VISIBLE = "owner_group IN ('acme', 'acme-sales') OR access_level = 'public'"

# The type checker takes the defaults of this dataclass for required arguments.
_match: Callable[[str, str], MatchQuery] = cast(Any, MatchQuery)


async def measure(stack: Running, seconds: float) -> dict[str, Any]:
    """p50 in milliseconds at one caller: LanceDB alone with a ready vector, the embedding alone, and the whole."""
    bare = await closed_loop(lambda: _bare(stack), callers=1, seconds=seconds)
    embedding = await closed_loop(_embedding, callers=1, seconds=seconds / 2)
    whole = {n: await closed_loop(lambda: _whole(stack), callers=n, seconds=seconds) for n in (1, 16)}
    return {
        "bare LanceDB, p50 ms": bare.p50,
        "embedding a query, p50 ms": embedding.p50,
        "product search over REST, p50 ms": whole[1].p50,
        "product search over REST, calls/s at 1 caller": whole[1].rate,
        "product search over REST, calls/s at 16 callers": whole[16].rate,
        "bare LanceDB, calls/s at 1 caller": bare.rate,
        "ratios": {
            "product search": {
                "p50 at 1 caller, times bare LanceDB's": whole[1].p50 / bare.p50,
                "calls/s at 16 callers, times bare LanceDB's at 1": whole[16].rate / bare.rate,
            }
        },
    }


async def _bare(stack: Running) -> Call:
    connection = await lancedb.connect_async(str(stack.home / "vectors"))
    table = await connection.open_table("products")
    vectors = dict(zip(QUERIES, await MiniLm.load().embed(QUERIES), strict=True))
    queries = itertools.cycle(QUERIES)
    reranker = RRFReranker()

    async def call() -> None:
        query = next(queries)
        words = _match(query, "text")
        search = table.query().nearest_to(vectors[query]).distance_type("cosine").nearest_to_text(words)
        rows = await search.where(VISIBLE).rerank(reranker).limit(LIMIT).to_list()
        if not rows:
            raise SystemExit(f"bare LanceDB found nothing for {query!r}")

    return call


async def _embedding() -> Call:
    embedder = MiniLm.load()
    numbers = itertools.count()

    async def call() -> None:
        await embedder.embed([f"{QUERIES[0]} {next(numbers)}"])

    return call


async def _whole(stack: Running) -> Call:
    connection = await Connection.open(stack.url)
    queries = itertools.cycle(QUERIES)
    headers = {"X-API-Key": stack.keys["sales"]}

    async def call() -> None:
        path = f"/api/v1/products?limit={LIMIT}&query={quote(next(queries))}"
        status, answer = await connection.request("GET", path, headers)
        if status != 200 or not json.loads(answer)["data"]["items"]:
            raise SystemExit(f"a page of products was expected, the answer was {status}: {answer[:500]!r}")

    return call
