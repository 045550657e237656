"""The table of provider routes."""

import pytest

from activities.providers.routes import RouteConfig, RouteStates, RouteTable
from domain.errors import CohortError
from domain.policy import Level, Principal
from storage.preferences import Preferences

TABLE = RouteTable(
    [
        RouteConfig(name="cheap", provider="openai", model="openai/gpt-4o-mini"),
        RouteConfig(name="best", provider="anthropic", model="anthropic/claude", groups=("acme",)),
        RouteConfig(name="local", provider="local", model="openai/smollm2", free=True),
    ]
)


def principal(*effective: str) -> Principal:
    return Principal(
        user_id="u",
        key_id="k",
        direct=effective[:1],
        effective=effective,
        closure=effective,
        clearance=Level.INTERNAL,
        grants=(),
        billing_group=effective[0],
    )


@pytest.mark.parametrize(
    ("model", "groups", "preferences", "names"),
    [
        ("auto", ("acme-sales", "acme"), Preferences(), ["cheap", "best", "local"]),
        ("auto", ("partner",), Preferences(), ["cheap", "local"]),
        ("auto", ("acme",), Preferences(providers=("local", "unknown", "best")), ["local", "best", "cheap"]),
        ("auto", ("acme",), Preferences(models=("smollm2", "best")), ["best", "local"]),
        ("cheap", ("partner",), Preferences(), ["cheap"]),
        ("openai/gpt-4o-mini", ("partner",), Preferences(), ["cheap"]),
        ("gpt-4o-mini", ("partner",), Preferences(), ["cheap"]),
    ],
)
def test_routes_are_chosen(model: str, groups: tuple[str, ...], preferences: Preferences, names: list[str]) -> None:
    routes = TABLE.choose(model, principal(*groups), preferences)

    assert [route.name for route in routes.items] == names
    assert routes.reason


@pytest.mark.parametrize(
    ("model", "preferences"),
    [("best", Preferences()), ("unheard-of", Preferences()), ("cheap", Preferences(models=("local",)))],
)
def test_a_model_that_the_group_may_not_use_is_like_one_that_does_not_exist(
    model: str, preferences: Preferences
) -> None:
    with pytest.raises(CohortError) as refused:
        TABLE.choose(model, principal("partner"), preferences)

    assert refused.value.details["fields"][0]["field"] == "model"
    assert "best" not in refused.value.message
    assert "local" in refused.value.message


def test_names_are_taken_once() -> None:
    route = RouteConfig(name="a", provider="p", model="p/m")

    with pytest.raises(ValueError, match="'a'"):
        RouteTable([route, route])
    with pytest.raises(ValueError, match="'auto'"):
        RouteTable([RouteConfig(name="auto", provider="p", model="p/m")])


def test_another_table_has_another_digest() -> None:
    one = RouteTable([RouteConfig(name="a", provider="p", model="p/m")])
    other = RouteTable([RouteConfig(name="a", provider="p", model="p/n")])

    assert one.digest != other.digest


def test_only_recent_attempts_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    states = RouteStates()
    assert states.state("a") is None

    states.note("a", "failed")
    states.note("b", "broken")
    assert (states.state("a"), states.state("b")) == ("failed", "broken")

    monkeypatch.setattr("activities.providers.routes.RECENT", -1.0)
    assert (states.state("a"), states.state("b")) == (None, "broken")

    states.note("b", "good")
    assert states.state("b") is None
