"""Contracts of health."""

from typing import Literal

from domain.base import Contract

State = Literal["ok", "degraded", "down"]


class HealthInput(Contract):
    """Show whether Cohort works: each part with its state and latency, and your groups' limits and backlog."""


class ComponentHealth(Contract):
    """One part: how it is, and in words what does not work meanwhile.

    `latency` is in milliseconds; None for a part that was not asked for this answer.
    """

    name: str
    state: State
    latency: float | None = None
    note: str = ""


class GroupHealth(Contract):
    """One of the caller's groups: its limits and how many of its calls wait. None means no limit is set."""

    id: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    parallel: int | None
    monthly_budget: float | None
    spent_this_month: float
    backlog: int


class HealthOutput(Contract):
    """The whole: `degraded` where a part is away and calls go on, `down` where they do not."""

    status: State
    version: str
    components: list[ComponentHealth]
    groups: list[GroupHealth]


class LivenessOutput(Contract):
    """That the front door answers."""

    status: Literal["ok"] = "ok"
    version: str
