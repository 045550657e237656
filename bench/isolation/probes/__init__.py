"""One module a probe: what is done, in terms that every gateway has."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.isolation.finding import Finding
from bench.isolation.gateway import Gateway
from bench.isolation.provider import Provider


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int = 20
    """Questions of the cache probe, and changes in each way of the revocation probe."""
    calls: int = 300
    """Calls for each of the two objects of the oracle."""
    parallel: int = 100
    """Calls at once against a budget."""
    wait: float = 90
    """Seconds after which a revoked right counts as still in force."""


Probe = Callable[[Gateway, Provider, Sizes], Awaitable[list[Finding]]]
