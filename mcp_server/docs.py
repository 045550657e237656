"""Makes the tables of the README and `docs/reference.md` from the code: `python -m mcp_server.docs [--check]`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from domain.errors import ERRORS, ErrorTraits
from mcp_server import upload_door
from mcp_server.identity import IDEMPOTENCY
from mcp_server.openapi import document
from mcp_server.operations import OPERATIONS, Operation
from mcp_server.tools import GROUP_CONTEXT, IDEMPOTENCY_KEY, tool_of
from mcp_server.version import version
from stack.settings import Settings

Json = dict[str, Any]

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
REFERENCE = ROOT / "docs" / "reference.md"


def tools_table() -> str:
    """Every operation with its tool, route, command and permission."""
    rows = ["| MCP tool | REST | command | permission | what it does |", "|---|---|---|---|---|"]
    for each in OPERATIONS.values():
        tool = f"`{each.name}`" if each.hints else "-"
        command = f"`cohort {each.command}`" if each.command else _ingest_command(each)
        needs = f"`{each.permission}`" if each.permission else "member"
        rows.append(f"| {tool} | `{each.method} {each.path}` | {command} | {needs} | {each.summary} |")
    rows.append("| - | `GET /api/v1/health` | `cohort health` | no key | That this front door answers. |")
    needs = "`products:write` or `documents:write`"
    rows.append(f"| - | `POST {upload_door.PATH}` | - | {needs} | Send a file for an ingestion, 256 MiB at most. |")
    return "\n".join(rows)


def settings_table() -> str:
    """Every setting with its default; those that the supervisor sets for its own processes are left out."""
    rows = ["| setting | default | what it is |", "|---|---|---|"]
    for name, info in Settings.model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("internal"):
            continue
        rows.append(f"| `COHORT_{name.upper()}` | {_default(info.default)} | {_cell(info.description or '')} |")
    return "\n".join(rows)


def reference() -> str:
    """The reference of all operations, with their fields in both spellings."""
    made = document(OPERATIONS, version())
    parts = [
        "# Reference",
        "Made from the code by `python -m mcp_server.docs`; edit `mcp_server/operations.py` and `domain/` instead.",
        (
            "Over REST fields are camelCase, in `data` of a body or in the query string (`attributes` there is a JSON "
            "object). MCP tools take them flat and in snake_case, and every tool also takes "
            f"`{GROUP_CONTEXT}`. Answers are the same envelope at both doors."
        ),
        *(_operation(made, each) for each in OPERATIONS.values()),
        "## Errors",
        _errors(),
    ]
    return "\n\n".join(parts) + "\n"


def _operation(made: Json, operation: Operation) -> str:
    said = made["paths"][operation.path][operation.method.lower()]
    parts = [f"## {operation.name}", f"`{operation.method} {operation.path}`", said["description"]]
    if operation.hints:
        parts.append(_arguments(operation))
    if operation.has_body:
        parts.append("```json\n" + json.dumps({"data": operation.body_example}, indent=2, ensure_ascii=False) + "\n```")
    fields = made["components"]["schemas"][operation.output.__name__]["properties"]
    parts.append("Answer: " + ", ".join(f"`{name}`" for name in fields) + ".")
    return "\n\n".join(parts)


def _arguments(operation: Operation) -> str:
    schema = tool_of(operation).input_schema
    rows = ["| tool argument | type | what it is |", "|---|---|---|"]
    for name, each in schema["properties"].items():
        if name == GROUP_CONTEXT:
            continue
        kind = " or ".join(each["enum"]) if "enum" in each else str(each.get("type", "anything"))
        bounds = [f"{word} {each[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in each]
        if each.get("default") not in (None, "", [], {}):
            bounds.append(f"default {json.dumps(each['default'])}")
        kind += ", required" if name in schema.get("required", ()) else ""
        told = each.get("description", "")
        rows.append(f"| `{name}` | {_cell(', '.join([kind, *bounds]))} | {_cell(told)} |")
    if len(rows) == 2:
        return "It takes no arguments of its own."
    if operation.effect:
        rows += ["", f"`{IDEMPOTENCY_KEY}` is the header `{IDEMPOTENCY}` over REST."]
    return "\n".join(rows)


def _errors() -> str:
    rows = ["| code | HTTP status | a retry can help | over MCP |", "|---|---|---|---|"]
    for code, traits in ERRORS.items():
        over_mcp = f"JSON-RPC error {traits.protocol_code}" if traits.protocol_code else "`isError` result"
        rows.append(f"| `{code.value}` | {traits.status} | {_retry(traits)} | {over_mcp} |")
    return "\n".join(rows)


def _retry(traits: ErrorTraits) -> str:
    return "where `retryable` says so" if traits.sometimes else "yes" if traits.retryable else "no"


def _ingest_command(operation: Operation) -> str:
    kind = operation.name.removesuffix("_ingest")
    return f"`cohort ingest {kind}`" if operation.name.endswith("_ingest") else "-"


def _default(value: object) -> str:
    return "-" if value in (None, []) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _between(text: str, name: str, content: str) -> str:
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"README.md has no {begin} … {end}: put both where the table belongs.")
    return f"{before}{begin}\n{content}\n{end}{after}"


def made_files() -> dict[Path, str]:
    """What each generated file should hold."""
    readme = README.read_text("utf-8")
    for name, content in (("tools", tools_table()), ("settings", settings_table())):
        readme = _between(readme, name, content)
    return {README: readme, REFERENCE: reference()}


def main() -> None:
    """Write the generated parts, or with `--check` fail where they are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something is out of date")
    check = parser.parse_args().check
    stale = [path for path, text in made_files().items() if not path.exists() or path.read_text("utf-8") != text]
    if check and stale:
        names = ", ".join(path.relative_to(ROOT).as_posix() for path in stale)
        sys.stderr.write(f"Out of date: {names}. Run `python -m mcp_server.docs` and commit what it writes.\n")
        raise SystemExit(1)
    for path in stale:
        path.write_text(made_files()[path], "utf-8")


if __name__ == "__main__":
    main()
