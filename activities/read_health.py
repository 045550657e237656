"""Tell whether each part works, how long it took to answer just now, and where the caller's groups stand."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from temporalio import activity

from activities.parts import Calling
from activities.providers.routes import RouteState
from domain.answers import Answered
from domain.calls import AdmittedCall, Facts, Outcome, Work
from domain.health import ComponentHealth, GroupHealth, HealthOutput, State
from domain.policy import Principal
from storage import group_health
from storage.redis_link import RedisLink
from storage.sql import Database
from workflows import ports

PATIENCE = 2.0
"""Seconds that a part may take to answer before it counts as away."""

INCOMPLETE = (
    "the index has fewer rows than the database, so searches miss some: "
    "ingest the same files again with `cohort ingest`, which adds what is missing"
)
_PROVIDERS: dict[RouteState | None, tuple[State, str]] = {
    None: ("ok", "not called lately"),
    "good": ("ok", ""),
    "failed": ("degraded", "its last call failed; other providers are tried where there are any"),
    "broken": ("down", "it is not set up correctly, so its calls fail: an operator must look at the worker's log"),
}


@dataclass(frozen=True)
class Probe:
    """One part: how to ask it, what does not work while it is away, and what to do where it is not whole."""

    name: str
    ask: Callable[[], Awaitable[State]]
    without: str
    essential: bool
    lacking: str = ""


class ReadHealth:
    """`health_check`: the parts are asked once for the whole batch, all at the same time."""

    def __init__(
        self,
        database: Database,
        redis: RedisLink,
        vectors: Callable[[], Awaitable[State]],
        calling: Calling,
        version: str,
    ) -> None:
        self._database = database
        self._redis = redis
        self._calling = calling
        self._version = version
        self._probes = (
            Probe("database", self._database_answers, "no call can be answered", essential=True),
            Probe("cache", self._cache_answers, "calls go on without the shared cache", essential=False),
            Probe("vectors", vectors, "documents and products can't be searched", essential=False, lacking=INCOMPLETE),
        )

    @activity.defn(name=ports.read_health.name)
    async def run(self, work: Work) -> Answered:
        """One outcome a call; the components are the same for all, the groups are each caller's own."""
        parts = await asyncio.gather(*(_asked(probe) for probe in self._probes))
        calls = work.admitted()
        async with self._database.read() as tx:
            wanted = {group for call in calls for group in call.principal.direct}
            groups = await group_health.read(tx, wanted, now=time.time())
        return Answered(outcomes=tuple(self._outcome(call, list(parts), groups) for call in calls))

    def _outcome(self, admitted: AdmittedCall, parts: list[ComponentHealth], groups: dict[str, GroupHealth]) -> Outcome:
        components = [*parts, _workflows(), *self._providers(admitted.principal)]
        output = HealthOutput(
            status=_overall(components, {probe.name for probe in self._probes if probe.essential}),
            version=self._version,
            components=components,
            groups=[groups[group] for group in admitted.principal.direct if group in groups],
        )
        return Outcome(
            call_id=admitted.call.id,
            data=output.model_dump(mode="json", by_alias=True),
            facts=Facts.of(admitted.principal),
        )

    async def _database_answers(self) -> State:
        async with self._database.read() as tx:
            await group_health.read(tx, (), now=time.time())
        return "ok"

    async def _cache_answers(self) -> State:
        return "ok" if await self._redis.probe() else "down"

    def _providers(self, principal: Principal) -> list[ComponentHealth]:
        """The routes that the caller may use, by how their last call from this worker ended.

        How long that took is not told: it may have been another group's call, and tells how long its answer was.
        """
        return [
            _provider(route.name, self._calling.states.state(route.name))
            for route in self._calling.routes.open_to(principal)
        ]


def _provider(name: str, last: RouteState | None) -> ComponentHealth:
    state, note = _PROVIDERS[last]
    return ComponentHealth(name=f"provider:{name}", state=state, note=note)


def _workflows() -> ComponentHealth:
    """This answer came through it."""
    late = time.time() - activity.info().current_attempt_scheduled_time.timestamp()
    return ComponentHealth(name="workflows", state="ok", latency=round(max(late, 0.0) * 1000, 1))


async def _asked(probe: Probe) -> ComponentHealth:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE):
            state = await probe.ask()
    except TimeoutError:
        state = "down"
    return ComponentHealth(
        name=probe.name,
        state=state,
        latency=round((time.perf_counter() - began) * 1000, 1),
        note={"ok": "", "degraded": probe.lacking, "down": probe.without}[state],
    )


def _overall(components: list[ComponentHealth], essential: set[str]) -> State:
    if any(part.state == "down" and part.name in essential for part in components):
        return "down"
    return "ok" if all(part.state == "ok" for part in components) else "degraded"
