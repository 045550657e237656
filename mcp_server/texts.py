"""An envelope to be read: every fact of it, as an MCP client or the command line shows it.

Whatever comes from an answer goes through the style (`s`), which keeps data from working as markup.
"""

from collections.abc import Callable
from typing import Any

from mcp_server.markup import MARKDOWN, Style

Json = dict[str, Any]


def render(operation: str, body: Json, style: Style = MARKDOWN) -> str:
    """The whole envelope as text."""
    parts = [_data(style, operation, body["data"]) if body["success"] else _failed(style, body["error"])]
    if "pagination" in body:
        parts.append(_page(style, body["pagination"]))
    parts.append(_about(style, body["metadata"]))
    return "\n\n".join(part for part in parts if part)


def _data(s: Style, operation: str, data: Json) -> str:
    try:
        return _TEXTS.get(operation, _generic)(s, data)
    except KeyError:  # a worker of another version answers in another shape, and that is to be read too
        return _generic(s, data)


def _failed(s: Style, error: Json) -> str:
    details = dict(error.get("details", {}))
    problems = details.pop("fields", [])
    # The message names the fields too, for those who show nothing else; once is enough here.
    listed = "; ".join(f"{each['field']}: {each['problem']}" for each in problems)
    message = error["message"].partition(listed)[0].rstrip() if listed else error["message"]
    lines = [f"{s.strong(s.text(error['code']))}: {s.text(message)}"]
    lines += [f"- {s.code(each['field'])}: {s.text(each['problem'])}" for each in problems]
    lines += _facts(s, details)
    retry = "A retry can help." if error["retryable"] else "A retry of the same call will not help."
    return "\n".join(lines) + f"\n\n{retry}"


def _completion(s: Style, data: Json) -> str:
    parts = [s.answer(data["text"])]
    if data["citations"]:
        sources = (_citation(s, one) for one in data["citations"])
        parts.append("Sources that the model was given:\n" + "\n".join(sources))
    else:
        parts.append("The model was given no sources.")
    usage = data["usage"]
    parts.append(
        f"Completion {s.code(data['id'])} ended with {s.text(data['finishReason'])}: {usage['promptTokens']} prompt "
        f"tokens, {usage['completionTokens']} completion tokens."
    )
    return "\n\n".join(parts)


def _citation(s: Style, one: Json) -> str:
    title = s.text(one["title"])
    if one.get("passage"):  # two passages of one document have the same title
        title += f", {s.text(one['passage'])}"
    origin = f"{one['kind']} {s.code(one['id'])}, from {s.text(one['source'])}, rank {one['rank']}"
    return f"- [{one['index']}] {title} ({origin}, {'cited' if one['cited'] else 'not cited'})"


def _products(s: Style, data: Json) -> str:
    parts = ["No products that you may see match."]
    if data["items"]:
        head = ("rank", "title", "id", "category", "price", "attributes", "owner group")
        parts = [s.table(head, [_row(s, one) for one in data["items"]])]
    facets = [
        f"- {s.text(name)}: " + ", ".join(f"{s.text(each['value'])} ({each['count']})" for each in values)
        for name, values in data["facets"].items()
        if values
    ]
    if facets:
        parts.append("Facets over all matches:\n" + "\n".join(facets))
    return "\n\n".join(parts)


def _row(s: Style, one: Json) -> list[str]:
    attributes = ", ".join(f"{s.text(name)}: {_plain(s, value)}" for name, value in one["attributes"].items())
    title, category, owner = (s.text(one[name]) for name in ("title", "category", "ownerGroup"))
    return [str(one["rank"]), title, s.code(one["id"]), category, _price(s, one), attributes, owner]


def _product(s: Style, data: Json) -> str:
    facts = {key: value for key, value in data.items() if key not in ("title", "description", "price", "currency")}
    head = f"{s.strong(s.text(data['title']))}, {_price(s, data)}"
    return "\n\n".join(part for part in (head, s.prose(data["description"]), "\n".join(_facts(s, facts))) if part)


def _price(s: Style, one: Json) -> str:
    return f"{one['price']:.2f} {s.text(one['currency'])}"


def _groups(s: Style, data: Json) -> str:
    head = ("id", "name", "parent", "membership", "access level", "admin level", "permissions")
    return f"Groups of {s.text(data['userId'])}:\n\n" + s.table(head, [_group(s, one) for one in data["groups"]])


def _group(s: Style, one: Json) -> list[str]:
    return [
        s.code(one["id"]),
        s.text(one["name"]),
        s.code(one["parent"]) if one["parent"] else "-",
        "direct" if one["direct"] else "not direct",
        s.text(one["accessLevel"]),
        str(one["adminLevel"]),
        _names(s, one["permissions"]),
    ]


def _permissions(s: Style, data: Json) -> str:
    member = "You are a direct member" if data["member"] else "You are not a direct member"
    also = ", and you administer it" if data["administered"] else ""
    said = (
        f"Permissions of group {s.code(data['groupId'])} (access level {s.text(data['accessLevel'])}, admin level "
        f"{data['adminLevel']}). {member}, with admin level {data['yourAdminLevel']} here{also}."
    )
    rows = [
        [s.code(one["permission"]), s.text(one["source"]), s.text(one["kind"]), _names(s, one["yours"])]
        for one in data["permissions"]
    ]
    return f"{said}\n\n{s.table(('permission', 'written down by', 'kind', 'yours now'), rows)}"


def _health(s: Style, data: Json) -> str:
    rows = [
        [s.text(one["name"]), s.text(one["state"]), _milliseconds(one["latency"]), s.text(one["note"] or "-")]
        for one in data["components"]
    ]
    parts = [
        f"Cohort {s.text(data['version'])} is {s.strong(s.text(data['status']))}.",
        s.table(("part", "state", "latency", "note"), rows),
    ]
    groups = ("\n".join([f"Group {s.code(one['id'])}:", *_facts(s, {**one, "id": None})]) for one in data["groups"])
    return "\n\n".join([*parts, *groups])


def _milliseconds(latency: float | None) -> str:
    return "-" if latency is None else f"{latency} ms"


def _generic(s: Style, data: Json) -> str:
    return "\n".join(_facts(s, data))


_TEXTS: dict[str, Callable[[Style, Json], str]] = {
    "completions_create": _completion,
    "products_search": _products,
    "products_get": _product,
    "groups_list": _groups,
    "groups_permissions": _permissions,
    "health_check": _health,
}
"""The texts of operations whose answers deserve more than a list of their facts."""


def _page(s: Style, page: Json) -> str:
    total = f"at least {page['total']}" if page["totalIsLowerBound"] else str(page["total"])
    said = f"This page holds at most {page['limit']} of {total} in all."
    if "nextToken" in page:
        return f"{said} There are more: call again with {s.argument('next_token')} {s.code(page['nextToken'])}"
    return f"{said} {'There are more.' if page['hasNext'] else 'There are no more.'}"


def _about(s: Style, metadata: Json) -> str:
    """The metadata; what is not known of this call is not said."""
    said = [
        f"request {s.text(metadata['requestId'])}",
        f"correlation {s.text(metadata['correlationId'])}",
        f"at {metadata['timestamp']}",
        f"{metadata['latency']} ms",
    ]
    said += [f"{name} {s.text(metadata[name])}" for name in ("model", "provider") if name in metadata]
    if "tokensUsed" in metadata:
        said.append(f"{metadata['tokensUsed']} tokens")
    if "cost" in metadata:
        said.append(f"{metadata['cost']} USD")
    if "cached" in metadata:
        age = f", {metadata['cacheAge']} s old" if "cacheAge" in metadata else ""
        said.append(f"from the cache{age}" if metadata["cached"] else "not from the cache")
    caller: list[str] = []
    if "userGroups" in metadata:
        caller.append(f"groups: {_names(s, metadata['userGroups'])}")
    if "dataAccessLevel" in metadata:
        caller.append(f"access level: {s.text(metadata['dataAccessLevel'])}")
    if "effectivePermissions" in metadata:
        caller.append(f"permissions: {_names(s, metadata['effectivePermissions'])}")
    return "\n".join(["---", "; ".join(said), *(["; ".join(caller)] if caller else [])])


def _names(s: Style, names: list[str]) -> str:
    return ", ".join(map(s.text, names)) or "none"


def _facts(s: Style, value: Any, indent: str = "") -> list[str]:
    """Nested lists of `name: value`; what is unset is left out."""
    lines: list[str] = []
    pairs: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        pairs = [(f"{s.text(name)}: ", each) for name, each in value.items() if each is not None]
    elif isinstance(value, list):
        pairs = [(f"{at}: " if isinstance(each, list) else "", each) for at, each in enumerate(value, 1)]
    for name, each in pairs:
        if not name and isinstance(each, dict) and each:
            deep = {inner: value for inner, value in each.items() if isinstance(value, dict | list) and value}
            flat = _facts(s, {inner: value for inner, value in each.items() if inner not in deep})
            lines += [f"{indent}- {'; '.join(fact[2:] for fact in flat) or 'of'}", *_facts(s, deep, indent + "  ")]
            continue
        if isinstance(each, dict | list) and each:
            lines += [f"{indent}- {name}".rstrip(), *_facts(s, each, indent + "  ")]
        else:
            lines.append(f"{indent}- {name}{_plain(s, each)}")
    return lines


def _plain(s: Style, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in ([], {}) else s.text(value)
