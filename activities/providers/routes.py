"""The table of provider routes: what each is called, who may use it, and which ones answer a request."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from domain import canonical
from domain.completions import Route, Routes
from domain.errors import invalid
from domain.policy import Principal
from storage.preferences import Preferences

AUTO = "auto"
RECENT = 300.0
"""Seconds for which a route's last failure is news."""

RouteState = Literal["good", "failed", "broken"]
"""`broken` is a mistake in this server's set-up."""


@dataclass(frozen=True)
class RouteConfig:
    """One route. `model` is LiteLLM's name; `api_key` is read from the environment of the worker that calls.

    `groups` limits the route to these groups and their descendants. `free` routes cost nothing (a model of our own).
    """

    name: str
    provider: str
    model: str
    api_base: str | None = None
    api_key_env: str | None = None
    timeout: float = 60
    context_tokens: int = 8_192
    groups: tuple[str, ...] = ()
    free: bool = False

    @property
    def label(self) -> str:
        """The model's name without LiteLLM's prefix: what answers, ledger and traces say."""
        return self.model.partition("/")[2] or self.model

    def route(self) -> Route:
        """The route as workflows know it: without address and credentials."""
        return Route(
            name=self.name,
            provider=self.provider,
            model=self.label,
            timeout=self.timeout,
            context_tokens=self.context_tokens,
        )

    def open_to(self, principal: Principal) -> bool:
        """Whether the caller is in one of the route's groups or below it."""
        return not self.groups or not set(self.groups).isdisjoint(principal.effective)


class RouteTable:
    """Every configured route, in the order of configuration, which is the default order of trying."""

    def __init__(self, routes: Sequence[RouteConfig]) -> None:
        names = [route.name for route in routes]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None or AUTO in names:
            raise ValueError(f"a route is called {twice or AUTO!r}, which is taken: give it another name")
        self._routes = {route.name: route for route in routes}
        self.digest = canonical.digest(
            [[r.name, r.model, r.api_base, r.context_tokens, sorted(r.groups)] for r in routes],
        )

    def __getitem__(self, name: str) -> RouteConfig:
        return self._routes[name]

    def __contains__(self, name: str) -> bool:
        return name in self._routes

    def __iter__(self) -> Iterator[RouteConfig]:
        return iter(self._routes.values())

    def names(self) -> list[str]:
        """The names of all routes."""
        return list(self._routes)

    def open_to(self, principal: Principal) -> list[RouteConfig]:
        """The routes that the caller's groups may use at all."""
        return [route for route in self._routes.values() if route.open_to(principal)]

    def choose(self, model: str, principal: Principal, preferences: Preferences) -> Routes:
        """The routes to try for `model`, best first.

        Raises:
            CohortError: `invalid_argument` that names what the caller may use instead.
        """
        usable = [route for route in self.open_to(principal) if _allowed(route, preferences)]
        if model != AUTO:
            named = [route for route in usable if model in (route.name, route.model, route.label)]
            if not named:
                offer = ", ".join([AUTO, *(route.name for route in usable)])
                raise invalid(("model", f"is not one that your group may use; you may use: {offer}"))
            return Routes(items=tuple(route.route() for route in named), reason="The request named this model.")
        preferred = [route for name in preferences.providers for route in usable if route.name == name]
        rest = [route for route in usable if route not in preferred]
        reason = (
            f"The group {principal.billing_group} prefers this order."
            if preferred
            else "The request left the choice open; this is the configured order."
        )
        return Routes(items=tuple(route.route() for route in [*preferred, *rest]), reason=reason)


class RouteStates:
    """How each route's last attempts from this process ended, for health.

    All groups share it, so it holds nothing of a call that would tell what was asked: no durations, no sizes.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[RouteState, float]] = {}

    def note(self, name: str, state: RouteState) -> None:
        """One attempt ended, or was seen to be in vain."""
        self._last[name] = (state, time.monotonic())

    def state(self, name: str) -> RouteState | None:
        """How the last attempt ended; None where there is no recent one. What is broken does not mend by waiting."""
        state, at = self._last.get(name, (None, 0.0))
        return state if state == "broken" or time.monotonic() - at <= RECENT else None


def _allowed(route: RouteConfig, preferences: Preferences) -> bool:
    return not preferences.models or not {route.name, route.model, route.label}.isdisjoint(preferences.models)
