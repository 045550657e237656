"""What an MCP client shows where it shows text: every fact of the envelope, laid out to be read."""

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


def render(operation: str, body: Json) -> str:
    """The whole envelope as text."""
    parts = [_data(operation, body["data"]) if body["success"] else _failed(body["error"])]
    if "pagination" in body:
        parts.append(_page(body["pagination"]))
    parts.append(_about(body["metadata"]))
    return "\n\n".join(part for part in parts if part)


def _data(operation: str, data: Json) -> str:
    try:
        return _TEXTS.get(operation, _generic)(data)
    except KeyError:  # a worker of another version answers in another shape, and that is to be read too
        return _generic(data)


def _failed(error: Json) -> str:
    lines = [f"**{error['code']}**: {error['message']}"]
    details = dict(error.get("details", {}))
    lines += [f"- `{problem['field']}`: {problem['problem']}" for problem in details.pop("fields", [])]
    lines += _facts(details)
    lines.append("A retry can help." if error["retryable"] else "A retry of the same call will not help.")
    return "\n".join(lines)


def _completion(data: Json) -> str:
    parts = [data["text"]]
    if data["citations"]:
        parts.append("Sources that the model was given:\n" + "\n".join(map(_citation, data["citations"])))
    else:
        parts.append("The model was given no sources.")
    usage = data["usage"]
    parts.append(
        f"Completion {data['id']} ended with {data['finishReason']}: {usage['promptTokens']} prompt tokens, "
        f"{usage['completionTokens']} completion tokens."
    )
    return "\n\n".join(parts)


def _citation(one: Json) -> str:
    origin = f"{one['kind']} `{one['id']}`, from {one['source']}, rank {one['rank']}"
    return f"[{one['index']}] {one['title']} ({origin}, {'cited' if one['cited'] else 'not cited'})"


def _products(data: Json) -> str:
    if not data["items"]:
        table = "No products that you may see match."
    else:
        rows = [
            f"| {one['rank']} | {_cell(one['title'])} | `{one['id']}` | {_cell(one['category'])} | "
            f"{_price(one)} | {_cell(_pairs(one['attributes']))} | {one['ownerGroup']} |"
            for one in data["items"]
        ]
        head = "| rank | title | id | category | price | attributes | owner group |\n|---|---|---|---|---|---|---|"
        table = "\n".join([head, *rows])
    facets = [
        f"- {name}: " + ", ".join(f"{each['value']} ({each['count']})" for each in values)
        for name, values in data["facets"].items()
        if values
    ]
    return "\n\n".join([table, *(["Facets over all matches:\n" + "\n".join(facets)] if facets else [])])


def _product(data: Json) -> str:
    facts = {key: value for key, value in data.items() if key not in ("title", "description", "price", "currency")}
    return "\n\n".join([f"**{data['title']}**, {_price(data)}", data["description"], "\n".join(_facts(facts))])


def _price(one: Json) -> str:
    return f"{one['price']:.2f} {one['currency']}"


def _groups(data: Json) -> str:
    head = (
        "| id | name | parent | membership | access level | admin level | permissions |\n|---|---|---|---|---|---|---|"
    )
    return "\n".join([f"Groups of {data['userId']}:", "", head, *map(_group, data["groups"])])


def _group(one: Json) -> str:
    membership = "direct" if one["direct"] else "not direct"
    facts = [f"`{one['id']}`", _cell(one["name"]), one["parent"] or "-", membership, one["accessLevel"]]
    return "| " + " | ".join([*facts, str(one["adminLevel"]), ", ".join(one["permissions"]) or "-"]) + " |"


def _permissions(data: Json) -> str:
    member = "You are a direct member." if data["member"] else "You are not a direct member."
    rows = [f"| `{one['permission']}` | {one['source']} | {one['kind']} |" for one in data["permissions"]]
    return "\n".join(
        [
            f"Permissions of group `{data['groupId']}` (access level {data['accessLevel']}). {member}",
            "",
            "| permission | written down by | kind |\n|---|---|---|",
            *rows,
        ]
    )


def _health(data: Json) -> str:
    parts = [
        f"| {one['name']} | {one['state']} | {_milliseconds(one['latency'])} | {_cell(one['note']) or '-'} |"
        for one in data["components"]
    ]
    head = f"Cohort {data['version']} is **{data['status']}**.\n\n| part | state | latency | note |\n|---|---|---|---|"
    groups = ["\n".join([f"Group `{one['id']}`:", *_facts({**one, "id": None})]) for one in data["groups"]]
    return "\n\n".join(["\n".join([head, *parts]), *groups])


def _milliseconds(latency: float | None) -> str:
    return "-" if latency is None else f"{latency} ms"


def _generic(data: Json) -> str:
    return "\n".join(_facts(data))


_TEXTS: dict[str, Callable[[Json], str]] = {
    "completions_create": _completion,
    "products_search": _products,
    "products_get": _product,
    "groups_list": _groups,
    "groups_permissions": _permissions,
    "health_check": _health,
}


def _page(page: Json) -> str:
    total = f"at least {page['total']}" if page["totalIsLowerBound"] else str(page["total"])
    said = f"This page holds at most {page['limit']} of {total} in all."
    if "nextToken" in page:
        return f"{said} There are more: call again with next_token `{page['nextToken']}`."
    return f"{said} {'There are more.' if page['hasNext'] else 'There are no more.'}"


def _about(metadata: Json) -> str:
    said = [
        f"request {metadata['requestId']}",
        f"correlation {metadata['correlationId']}",
        f"at {metadata['timestamp']}",
        f"{metadata['latency']} ms",
    ]
    if "model" in metadata:
        said.append(f"model {metadata['model']}")
    if "provider" in metadata:
        said.append(f"provider {metadata['provider']}")
    if "tokensUsed" in metadata:
        said.append(f"{metadata['tokensUsed']} tokens")
    if "cost" in metadata:
        said.append(f"{metadata['cost']} USD")
    if "cached" in metadata:
        age = f", {metadata['cacheAge']} s old" if "cacheAge" in metadata else ""
        said.append(f"from the cache{age}" if metadata["cached"] else "not from the cache")
    groups = ", ".join(metadata["userGroups"]) or "none"
    permissions = ", ".join(metadata["effectivePermissions"]) or "none"
    return (
        f"---\n{'; '.join(said)}\n"
        f"groups: {groups}; access level: {metadata['dataAccessLevel']}; permissions: {permissions}"
    )


def _facts(value: Any, indent: str = "") -> list[str]:
    """Nested lists of `name: value`; what is unset is left out."""
    lines: list[str] = []
    pairs: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        pairs = [(f"{name}: ", each) for name, each in value.items() if each is not None]
    elif isinstance(value, list):
        pairs = [("", each) for each in value]
    for name, each in pairs:
        if isinstance(each, dict | list) and each:
            lines += [f"{indent}- {name}".rstrip(), *_facts(each, indent + "  ")]
        else:
            lines.append(f"{indent}- {name}{_plain(each)}")
    return lines


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in ([], {}) else str(value)


def _pairs(attributes: Json) -> str:
    return ", ".join(f"{name}: {_plain(value)}" for name, value in attributes.items())


def _cell(text: str) -> str:
    return " ".join(str(text).replace("|", "\\|").split())
