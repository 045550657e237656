"""A closed-loop load generator: N callers, each sending its next call when the last was answered.

HTTP is spoken by hand over kept-alive connections, because a comfortable client costs more CPU per call than the
server that is measured on the same two cores.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

Call = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Figures:
    """What one run gave: `p50` and `p99` in milliseconds, `rate` in calls a second."""

    callers: int
    calls: int
    p50: float
    p99: float
    rate: float

    def json(self) -> dict[str, float]:
        """For the results file."""
        return asdict(self)


async def closed_loop(make_caller: Callable[[], Awaitable[Call]], *, callers: int, seconds: float) -> Figures:
    """Run `callers` loops for `seconds`; the first tenth warms up and is not counted."""
    latencies: list[float] = []
    begin = time.perf_counter()
    counted_from = begin + seconds / 10
    end = begin + seconds

    async def loop() -> None:
        call = await make_caller()
        while (started := time.perf_counter()) < end:
            await call()
            if started >= counted_from:
                latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(loop() for _ in range(callers)))
    took = time.perf_counter() - counted_from
    latencies.sort()
    return Figures(
        callers=callers,
        calls=len(latencies),
        p50=_at(latencies, 0.50) * 1_000,
        p99=_at(latencies, 0.99) * 1_000,
        rate=len(latencies) / took,
    )


def _at(ordered: list[float], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * quantile))] if ordered else float("nan")


class Connection:
    """One kept-alive HTTP/1.1 connection. Not for several tasks at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader, self._writer, self._host = reader, writer, host

    @classmethod
    async def open(cls, url: str) -> "Connection":
        """Connect to the host and port of `url`."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
        return cls(reader, writer, parts.netloc)

    async def post(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """`request` with POST."""
        return await self.request("POST", path, headers, body)

    async def request(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
        """Send one request and read its whole answer: status and body."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if fields.get("transfer-encoding") == "chunked":
            return status, await self._chunks()
        return status, await self._reader.readexactly(int(fields.get("content-length", "0")))

    async def _chunks(self) -> bytes:
        parts: list[bytes] = []
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            parts.append(await self._reader.readexactly(size))
            await self._reader.readline()
        await self._reader.readline()
        return b"".join(parts)
