"""From what a door was given to the input model of an operation: REST bodies, query strings, tool arguments."""

import math
import re
from collections.abc import Mapping
from typing import Any, cast

import orjson
from starlette.datastructures import QueryParams

from domain.base import Contract
from domain.envelope import RequestMetadata
from domain.errors import invalid
from mcp_server.bodies import check_value
from mcp_server.flat import FlatField, Json, fields_of, nest
from mcp_server.operations import Operation
from mcp_server.problems import BODY, QUERY, TOOL, unknown, validate

_WHOLE = re.compile(r"-?(0|[1-9]\d{0,18})")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?")


def from_body(operation: Operation, path: Mapping[str, str], value: Any) -> tuple[Contract, RequestMetadata]:
    """The input and the metadata of `{data, metadata?}`; what the address says is not said again in `data`.

    Raises:
        CohortError: invalid_argument naming each field.
    """
    if not isinstance(value, dict):
        raise invalid(("body", "must be a JSON object with data"))
    body = cast(Json, value)
    if strangers := [name for name in body if name not in ("data", "metadata")]:
        raise unknown(strangers, ["data", "metadata"])
    data = body.get("data")
    if not isinstance(data, dict):
        raise invalid(("data", "is required" if "data" not in body else "must be an object"))
    if doubled := [name for name in path if name in data]:
        raise invalid(*((name, "is part of the address; leave it out of data") for name in doubled))
    said = {} if body.get("metadata") is None else body["metadata"]
    if not isinstance(said, dict):
        raise invalid(("metadata", "must be an object"))
    metadata = validate(RequestMetadata, said, BODY, prefix="metadata.")
    fields = {field.wire_name: field for field in fields_of(operation.input)}
    given = {name: _typed(fields[name], text) for name, text in path.items()}
    check_value(given)
    return validate(operation.input, {**cast(Json, data), **given}, BODY), metadata


def from_query(operation: Operation, path: Mapping[str, str], query: QueryParams) -> Contract:
    """The input of a GET or DELETE: fields from the path and the query string, camelCase, objects as JSON.

    Raises:
        CohortError: invalid_argument naming each parameter.
    """
    fields = {field.wire_name: field for field in fields_of(operation.input)}
    asked = [field for field in fields if field not in path]
    if repeated := [name for name in query if len(query.getlist(name)) > 1]:
        raise invalid(*((name, "is given more than once") for name in repeated))
    if strangers := [name for name in query if name not in asked]:
        raise unknown(strangers, asked)
    given = {name: _typed(fields[name], text) for name, text in {**query, **path}.items()}
    check_value(given)
    nested, _ = nest(operation.input, given, wire=True)
    return validate(operation.input, nested, QUERY)


def from_arguments(operation: Operation, arguments: Mapping[str, Any]) -> Contract:
    """The input of a tool call: flat snake_case arguments.

    Raises:
        CohortError: invalid_argument naming each argument.
    """
    check_value(dict(arguments))
    nested, strangers = nest(operation.input, arguments, wire=False)
    if strangers:
        raise unknown(strangers, [field.name for field in fields_of(operation.input)])
    return validate(operation.input, nested, TOOL)


def _typed(field: FlatField, text: str) -> Any:
    """What a query parameter spells, by its schema; text that does not fit stays text and is refused as such."""
    match field.schema.get("type"):
        case "integer" if _WHOLE.fullmatch(text):
            return int(text)
        case "number" if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
            return number
        case "boolean" if text in ("true", "false"):
            return text == "true"
        case "object" | "array":
            try:
                return orjson.loads(text)
            except orjson.JSONDecodeError:
                raise invalid((field.wire_name, 'must be a JSON object, such as {"colour": "red"}')) from None
        case _:
            return text
