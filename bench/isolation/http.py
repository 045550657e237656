"""Plain HTTP for adapters and probes: nothing of a gateway's own client is used."""

import time
from typing import Any

import httpx

from bench.isolation.gateway import Answer, Request, Unusable

TIMEOUT = 120.0
IDLE = 2.0
"""Seconds after which an idle connection is not used again: servers hang up after five."""


class Http:
    """Kept-alive connections to any number of doors."""

    def __init__(self) -> None:
        limits = httpx.Limits(max_connections=512, max_keepalive_connections=512, keepalive_expiry=IDLE)
        self._client = httpx.AsyncClient(timeout=TIMEOUT, limits=limits, trust_env=False)

    async def send(
        self, door: str, request: Request, headers: dict[str, str], *, again: bool = True, **more: Any
    ) -> Answer:
        """One request and its whole answer; `more` is httpx's, such as files.

        Raises:
            Unusable: there was none.
        """
        begin = time.perf_counter()
        try:
            url = f"{door}{request.path}"
            response = await self._client.request(request.method, url, json=request.body, headers=headers, **more)
        except httpx.HTTPError as error:
            # on a busy machine a server may hang up on a connection at the moment at which it is used again
            if again and isinstance(error, httpx.ReadError | httpx.RemoteProtocolError):
                return await self.send(door, request, headers, again=False, **more)
            raise Unusable(f"{request.method} {request.path}: no answer ({error!r})") from error
        seconds = time.perf_counter() - begin
        try:
            body = response.json()
        except ValueError:
            body = None
        return Answer(response.status_code, response.text, seconds, body)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def served(answer: Answer, what: str) -> Any:
    """The body of an answer that must be there for a probe to mean something.

    Raises:
        Unusable: it was refused.
    """
    if not answer.ok:
        raise Unusable(f"{what}: {answer.status} {answer.text[:300]}")
    return answer.body
