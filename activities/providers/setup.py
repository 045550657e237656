"""What is wrong with a route's set-up, as far as it can be seen without a call. Said to operators, never to callers."""

import os
from typing import Any

from activities.providers.routes import RouteConfig

_WHERE = "set it in the environment or in .env, and start again"
_ALL_THERE_IS_TO_A_KEY = ("_API_KEY", "_API_TOKEN")


def fault(library: Any, route: RouteConfig) -> str | None:
    """Why no call of the route can work, in one sentence without any secret; None where nothing speaks against it.

    `library` is LiteLLM, which knows what its providers need.
    """
    if lacks_its_key(route):
        return f"{route.api_key_env} is not set, which the route {route.name} names for its key: {_WHERE}."
    try:
        _, _, key, _ = library.get_llm_provider(model=route.model, api_base=route.api_base)
    except (library.exceptions.BadRequestError, ValueError, LookupError):
        return (
            f"LiteLLM knows no provider for the model {route.model}: "
            "write it as provider/model, such as openai/gpt-4o-mini."
        )
    if key or route.api_key_env:
        return None
    missing: list[str] = library.validate_environment(route.model).get("missing_keys", [])
    # Where a provider takes more than a key, credentials may also come from files or from the machine's role.
    if not missing or not all(name.endswith(_ALL_THERE_IS_TO_A_KEY) for name in missing):
        return None
    return f"{' or '.join(missing)} is not set, which the model {route.model} needs: {_WHERE}."


def lacks_its_key(route: RouteConfig) -> bool:
    """Whether the variable that the route names is not there; another provider's key must not be sent instead."""
    return route.api_key_env is not None and not os.environ.get(route.api_key_env)


def forget_empty_keys() -> None:
    """LiteLLM takes `OPENAI_API_KEY=` for a key. Compose files and `.env` templates set such where there is none."""
    for name in [name for name, value in os.environ.items() if name.endswith(_ALL_THERE_IS_TO_A_KEY) and not value]:
        del os.environ[name]
