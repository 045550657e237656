"""Flat spellings of input models: an MCP tool and a query string take the fields of lifted objects at the top level.

`filters.minPrice` of a REST body is the tool argument `min_price` and the query parameter `minPrice`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from domain.flat import Lift

Json = dict[str, Any]


@dataclass(frozen=True)
class FlatField:
    """One top-level argument: its name in both spellings, where it belongs in the model, and its JSON Schema."""

    name: str
    wire_name: str
    path: tuple[str, ...]
    wire_path: tuple[str, ...]
    schema: Json
    required: bool


@cache
def fields_of(model: type[BaseModel]) -> tuple[FlatField, ...]:
    """The flat fields of an input model, in the order of its declaration."""
    return tuple(_walk(model, "", (), ()))


def nest(model: type[BaseModel], given: Mapping[str, Any], *, wire: bool) -> tuple[Json, list[str]]:
    """Put flat arguments where the model has them; also the names that no field has.

    `wire` says which spelling `given` has: query parameters (camelCase) or tool arguments (snake_case).
    """
    known = {field.wire_name if wire else field.name: field for field in fields_of(model)}
    nested: Json = {}
    for name in (name for name in given if name in known):
        target = nested
        *parents, last = known[name].wire_path
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = given[name]
    return nested, [name for name in given if name not in known]


def tool_schema(model: type[BaseModel]) -> Json:
    """The JSON Schema of a tool's arguments."""
    fields = fields_of(model)
    schema: Json = {"type": "object", "properties": {field.name: field.schema for field in fields}}
    required = [field.name for field in fields if field.required]
    return {**schema, **({"required": required} if required else {}), "additionalProperties": False}


def plain_schema(schema: Json, definitions: Json) -> Json:
    """A schema without references, generated titles and null branches: what a model has to read, and no more."""
    if "$ref" in schema:
        named = definitions[str(schema["$ref"]).rsplit("/", 1)[-1]]
        return plain_schema({**named, **{key: value for key, value in schema.items() if key != "$ref"}}, definitions)
    if "anyOf" in schema:
        branches = [branch for branch in schema["anyOf"] if branch != {"type": "null"}]
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        if len(branches) == 1:
            return plain_schema({**branches[0], **rest}, definitions)
        schema = {**rest, "anyOf": [plain_schema(branch, definitions) for branch in branches]}
    plain: Json = {}
    for key, value in schema.items():
        if key in ("title", "$defs") or (key == "default" and value is None):
            continue
        if key == "default" and isinstance(value, dict):
            plain[key] = {name: each for name, each in cast(Json, value).items() if each is not None}
        elif key == "properties":
            properties = cast(dict[str, Json], value)
            # A trailing underscore only keeps a Python name clear of a method's; the wire knows nothing of it.
            plain[key] = {name.rstrip("_"): plain_schema(each, definitions) for name, each in properties.items()}
        elif key == "required":
            plain[key] = [name.rstrip("_") for name in cast(list[str], value)]
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            plain[key] = plain_schema(cast(Json, value), definitions)
        else:
            plain[key] = value
    return plain


def _walk(model: type[BaseModel], prefix: str, path: tuple[str, ...], wire_path: tuple[str, ...]) -> list[FlatField]:
    schema = model.model_json_schema(by_alias=False)
    definitions = schema.get("$defs", {})
    found: list[FlatField] = []
    for name, info in model.model_fields.items():
        here, wire_here = (*path, name), (*wire_path, info.alias or name)
        lift = next((mark for mark in info.metadata if isinstance(mark, Lift)), None)
        if lift is not None and isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found += _walk(info.annotation, prefix + lift.prefix, here, wire_here)
            continue
        found.append(
            FlatField(
                name=prefix + name,
                wire_name=to_camel(prefix + name),
                path=here,
                wire_path=wire_here,
                schema=plain_schema(schema["properties"][name], definitions),
                required=info.is_required() and not path,
            )
        )
    return found
