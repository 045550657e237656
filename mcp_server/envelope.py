"""The envelope around every answer, as plain dictionaries ready for JSON; what is unset is left out."""

from typing import Any

from domain.calls import Outcome
from domain.envelope import Pagination
from domain.errors import CohortError
from mcp_server.identity import Ids

Json = dict[str, Any]


def success(ids: Ids, data: Json, outcome: Outcome | None = None) -> Json:
    """`{success, data, metadata, pagination?}`."""
    body: Json = {"success": True, "data": data, "metadata": metadata(ids, outcome)}
    if outcome is not None and outcome.pagination is not None:
        body["pagination"] = _pagination(outcome.pagination)
    return body


def failure(ids: Ids, error: CohortError, outcome: Outcome | None = None) -> Json:
    """`{success, error, metadata}`."""
    return {"success": False, "error": error_of(error), "metadata": metadata(ids, outcome)}


def error_of(error: CohortError) -> Json:
    """`{code, message, details?, retryable}`."""
    said: Json = {"code": error.code.value, "message": error.message}
    if error.details:
        said["details"] = error.details
    return {**said, "retryable": error.retryable}


def metadata(ids: Ids, outcome: Outcome | None = None) -> Json:
    """About one call: ids, time, the caller's groups where they are known, and for completions what it used."""
    said: Json = {
        "requestId": ids.request,
        "correlationId": ids.correlation,
        "timestamp": ids.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "latency": ids.latency(),
    }
    if outcome is not None and (facts := outcome.facts) is not None:
        said |= {
            "userGroups": list(facts.user_groups),
            "effectivePermissions": list(facts.effective_permissions),
            "dataAccessLevel": facts.data_access_level.value,
        }
    if outcome is not None and (usage := outcome.usage) is not None:
        used: Json = {
            "cached": usage.cached,
            "cacheAge": usage.cache_age,
            "provider": usage.provider,
            "model": usage.model,
            "tokensUsed": usage.prompt_tokens + usage.completion_tokens,
            "cost": usage.cost,
        }
        said |= {name: value for name, value in used.items() if value is not None}
    return said


def _pagination(page: Pagination) -> Json:
    said: Json = {
        "limit": page.limit,
        "total": page.total,
        "totalIsLowerBound": page.total_is_lower_bound,
        "hasNext": page.has_next,
    }
    return said if page.next_token is None else {**said, "nextToken": page.next_token}
