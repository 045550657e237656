"""The documentation page as HTML, from the OpenAPI document."""

import json
from collections.abc import Iterable
from html import escape
from typing import Any

Json = dict[str, Any]


def write(document: Json, style: str, script: str) -> str:
    """The whole page."""
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    tags = [
        (tag, [each for each in operations if tag["name"] in each[2]["tags"]])
        for tag in document["tags"]
        if any(tag["name"] in each[2]["tags"] for each in operations)
    ]
    contents = "".join(
        f"<h2>{escape(tag['name'])}</h2><ul>{''.join(_entry(*each) for each in inside)}</ul>" for tag, inside in tags
    )
    sections = "".join(
        f"<h2>{escape(tag['description'])}</h2>{''.join(_section(document, *each) for each in inside)}"
        for tag, inside in tags
    )
    info = document["info"]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(info["title"])} API</title>
<style>{style}</style>
</head>
<body>
<nav aria-label="Operations"><a class="brand" href="#top">{escape(info["title"])}</a>{contents}</nav>
<main id="top">
<header>
<h1>{escape(info["title"])} <small>{escape(info["version"])}</small></h1>
<p>{escape(info["summary"])} Agents reach the same operations over MCP at <code>/mcp</code>.
The document behind this page: <a href="/openapi.json">openapi.json</a>.</p>
<div class="card key">
<label for="key">API key, to try the calls below. It stays in this page and is forgotten when you leave it.</label>
<input id="key" type="password" autocomplete="off" spellcheck="false" placeholder="cohort_…">
<label for="context">Group context (optional)</label>
<input id="context" autocomplete="off" spellcheck="false" placeholder="one of your groups">
</div>
</header>
{_envelope(document)}
{sections}
</main>
<script>{script}</script>
</body>
</html>
"""


def _entry(path: str, method: str, operation: Json) -> str:
    name = operation["operationId"]
    return f'<li><a href="#{escape(name)}"><b class="{method}">{method}</b> {escape(name)}</a></li>'


def _envelope(document: Json) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(code)}</code></td><td>{_inline(said['description'])}</td></tr>"
        for code, said in document["components"]["responses"].items()
    )
    headers = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['description'])}</td></tr>"
        for each in document["components"]["parameters"].values()
    )
    return f"""<section class="card" id="envelope"><h3>Every call</h3>
<p>Send the key as <code>X-API-Key</code> or <code>Authorization: Bearer</code>. Answers are
<code>{{success, data | error, metadata, pagination?}}</code>. Bodies are JSON of at most 256 KiB and 32 levels.</p>
<details><summary>Headers</summary><table>{headers}</table></details>
<details><summary>Errors</summary><table>{rows}</table></details></section>"""


def _section(document: Json, path: str, method: str, operation: Json) -> str:
    name = operation["operationId"]
    own = [each for each in operation["parameters"] if "$ref" not in each]
    body = operation.get("requestBody", {}).get("content", {})
    parts = [
        f'<section class="card" id="{escape(name)}">',
        f'<h3><b class="{method}">{method}</b> <code>{escape(path)}</code></h3>',
        f"<p><strong>{escape(operation['summary'])}</strong></p>",
        "".join(f"<p>{_inline(each)}</p>" for each in operation.get("description", "").split("\n\n") if each),
    ]
    if own:
        parts.append(_table("Parameters", (_parameter(document, each) for each in own)))
    if media := body.get("application/json"):
        schema = _resolve(document, media["schema"]["properties"]["data"])
        parts.append(_table("Fields of <code>data</code>", _fields(document, schema)))
    answer = next(iter(operation["responses"].values()))
    schema = answer["content"]["application/json"]["schema"]["properties"]["data"]
    parts.append(_table("Answer", _fields(document, _resolve(document, schema))))
    parts.append(_errors(operation))
    if not body or "application/json" in body:
        parts.append(_try(path, method, own, body))
    return "".join([*parts, "</section>"])


def _table(title: str, rows: Iterable[str]) -> str:
    return f"<details open><summary>{title}</summary><table>{''.join(rows)}</table></details>"


def _parameter(document: Json, each: Json) -> str:
    schema = each.get("schema") or each["content"]["application/json"]["schema"]
    kind = f"{_type(document, schema)}, {each['in']}" + (", required" if each["required"] else "")
    return _row(each["name"], kind, schema, each.get("description", ""))


def _fields(document: Json, schema: Json, prefix: str = "", depth: int = 0) -> list[str]:
    rows: list[str] = []
    for name, each in schema.get("properties", {}).items():
        kind = _type(document, each) + (", required" if name in schema.get("required", ()) else "")
        rows.append(_row(prefix + name, kind, each, each.get("description", "")))
        inner = _inner(document, each)
        if inner and depth < 3:
            rows += _fields(document, inner, f"{prefix}{name}.", depth + 1)
    return rows


def _row(name: str, kind: str, schema: Json, description: str) -> str:
    bounds = [
        f"{said} {schema[key]}"
        for key, said in (("minimum", "from"), ("maximum", "to"), ("minLength", "length from"), ("maxLength", "to"))
        if key in schema
    ]
    if schema.get("default") and not isinstance(schema["default"], dict):
        bounds.append(f"default {json.dumps(schema['default'])}")
    limits = f" <small>{escape(', '.join(bounds))}</small>" if bounds else ""
    cells = (f"<code>{escape(name)}</code>", escape(kind) + limits, _inline(description))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _errors(operation: Json) -> str:
    codes = [each["$ref"].rsplit("/", 1)[-1] for each in operation["responses"].values() if "$ref" in each]
    said = " ".join(f"<code>{escape(code)}</code>" for code in codes)
    return f'<p class="errors">Errors: <a href="#envelope">{said}</a></p>' if codes else ""


def _try(path: str, method: str, own: list[Json], body: Json) -> str:
    inputs = "".join(map(_input, own))
    example = json.dumps(body["application/json"]["example"], indent=2, ensure_ascii=False) if body else ""
    area = f'<textarea name="body" rows="{example.count(chr(10)) + 2}" spellcheck="false">{escape(example)}</textarea>'
    return (
        f'<details class="try"><summary>Try it</summary><form data-path="{escape(path)}" data-method="{method}">'
        f'{inputs}{area if body else ""}<button>Send</button></form><pre class="curl"></pre><pre class="answer"></pre>'
        "</details>"
    )


def _input(parameter: Json) -> str:
    name, example = escape(parameter["name"]), escape(_example(parameter))
    value = example if parameter["in"] == "path" else ""
    attributes = f'name="{name}" data-in="{parameter["in"]}" value="{value}" placeholder="{example}"'
    return f"<label>{name} <input {attributes}></label>"


def _example(parameter: Json) -> str:
    value = parameter.get("example", "")
    return value if isinstance(value, str) else json.dumps(value)


def _type(document: Json, schema: Json) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return _type(document, _resolve(document, schema))
    if "anyOf" in schema:
        branches = (each for each in schema["anyOf"] if each != {"type": "null"})
        return " or ".join(dict.fromkeys(_type(document, each) for each in branches))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return json.dumps(schema["const"])
    if schema.get("type") == "array":
        return f"list of {_type(document, schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def _inner(document: Json, schema: Json) -> Json | None:
    """The object that a field is, or is a list of."""
    if "$ref" in schema:
        schema = _resolve(document, schema)
    if "anyOf" in schema:
        branches = (_inner(document, each) for each in schema["anyOf"])
        return next((each for each in branches if each), None)
    if schema.get("type") == "array":
        return _inner(document, schema.get("items", {}))
    return schema if "properties" in schema else None


def _resolve(document: Json, schema: Json) -> Json:
    if "$ref" not in schema:
        return schema
    return document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]


def _inline(text: str) -> str:
    """Escaped text in which `…` is code."""
    return "".join(
        f"<code>{escape(part)}</code>" if at % 2 else escape(part) for at, part in enumerate(text.split("`"))
    )
