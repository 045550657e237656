"""The OpenAPI 3.1 document, made from the table of operations."""

from typing import Any

from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain.base import Contract
from domain.envelope import Failure, Metadata, Pagination, RequestMetadata
from domain.errors import ErrorCode
from domain.health import LivenessOutput
from mcp_server import upload_door
from mcp_server.flat import FlatField, fields_of
from mcp_server.http import Reply, Resource
from mcp_server.openapi_parts import ALWAYS, ECHOED, PARAMETERS, REF, liveness, refs, responses, upload
from mcp_server.operations import Operation

Json = dict[str, Any]

_TAGS = {
    "completions": "Completions grounded in what your groups may see",
    "products": "The catalogue",
    "groups": "Groups and permissions",
    "health": "Health",
    "ingestion": "Administration: taking files in",
    "jobs": "Long-running calls",
    "administration": "Administration: groups, users, keys, and who may see what",
}


def routes(operations: dict[str, Operation], version: str) -> list[Route]:
    """`GET /openapi.json`."""
    made: Json = {}

    async def serve(_: Request) -> Response:
        if not made:
            made.update(document(operations, version))
        return Reply(made)

    return [Route("/openapi.json", endpoint=Resource({"GET": serve}))]


def document(operations: dict[str, Operation], version: str) -> Json:
    """The whole document."""
    paths: Json = {}
    for operation in operations.values():
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    paths["/api/v1/health"] = {"get": liveness()}
    paths[upload_door.PATH] = {"post": upload()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cohort",
            "version": version,
            "summary": "A group-aware AI platform; every call is a durable workflow.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [
            {"name": family, "description": _TAGS.get(family, family.capitalize())}
            for family in dict.fromkeys(operation.family for operation in operations.values())
        ],
        "security": [{"apiKey": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            "parameters": PARAMETERS,
            "responses": responses(),
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(operation: Operation) -> Json:
    codes = [*ALWAYS, ErrorCode.NOT_FOUND]
    if operation.effect:
        codes += [ErrorCode.CONFLICT, ErrorCode.BUDGET_EXCEEDED]
    said: Json = {
        "operationId": operation.name,
        "tags": [operation.family],
        "summary": operation.summary,
        "description": _described(operation),
        "parameters": _parameters(operation),
        "responses": {
            str(operation.status): {
                "description": "How the call ended, with its metadata.",
                "headers": ECHOED,
                "content": {"application/json": {"schema": _envelope(operation)}},
            },
            **refs(*codes),
        },
    }
    if operation.has_body:
        example = {"data": operation.body_example}
        said["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _body(operation), "example": example}},
        }
    return said


def _described(operation: Operation) -> str:
    needs = f"Takes the permission `{operation.permission}`." if operation.permission else "Every member may call it."
    tool = f" The same over MCP: the tool `{operation.name}`." if operation.hints else ""
    return f"{operation.description}\n\n{needs}{tool} Waits {operation.deadline:g} s at most."


def _body(operation: Operation) -> Json:
    return {
        "type": "object",
        "properties": {
            "data": {"$ref": REF + _body_name(operation)},
            "metadata": {"anyOf": [{"$ref": REF + "RequestMetadata"}, {"type": "null"}]},
        },
        "required": ["data"],
        "additionalProperties": False,
    }


def _body_name(operation: Operation) -> str:
    """The schema of a body's `data`: the input, or where a part of that is in the path, the rest of it."""
    return f"{operation.name}_body" if operation.path_fields else operation.input.__name__


def _without(schema: Json, names: tuple[str, ...]) -> Json:
    properties = {name: each for name, each in schema["properties"].items() if name not in names}
    required = [name for name in schema.get("required", ()) if name not in names]
    return {**schema, "properties": properties, "required": required}


def _envelope(operation: Operation) -> Json:
    properties: Json = {
        "success": {"const": True},
        "data": {"$ref": REF + operation.output.__name__},
        # An answer knows its caller, where a refusal may not.
        "metadata": {"allOf": [{"$ref": REF + "Metadata"}, {"required": _CALLER}]},
    }
    if operation.paginated:
        properties["pagination"] = {"$ref": REF + "Pagination"}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _parameters(operation: Operation) -> list[Json]:
    common = ["correlationId", "requestId", "groupContext", "groupOverride"]
    if operation.effect:
        common.append("idempotencyKey")
    fields = fields_of(operation.input)
    asked = [field for field in fields if not operation.has_body or field.wire_name in operation.path_fields]
    own = [_parameter(operation, field) for field in asked]
    return [*own, *({"$ref": f"#/components/parameters/{name}"} for name in common)]


def _parameter(operation: Operation, field: FlatField) -> Json:
    in_path = field.wire_name in operation.path_fields
    schema = {key: value for key, value in field.schema.items() if key != "description"}
    said: Json = {"name": field.wire_name, "in": "path" if in_path else "query", "required": in_path or field.required}
    if "description" in field.schema:
        said["description"] = field.schema["description"]
    if schema.get("type") == "object":
        said["content"] = {"application/json": {"schema": schema}}
    else:
        said["schema"] = schema
    if field.wire_name in operation.example:
        said["example"] = operation.example[field.wire_name]
    return said


def _schemas(operations: dict[str, Operation]) -> Json:
    wanted: list[tuple[type[Contract], JsonSchemaMode]] = [
        (RequestMetadata, "validation"),
        (Metadata, "serialization"),
        (Pagination, "serialization"),
        (Failure, "serialization"),
        (LivenessOutput, "serialization"),
    ]
    for operation in operations.values():
        if operation.has_body:
            wanted.append((operation.input, "validation"))
        wanted.append((operation.output, "serialization"))
    _, made = models_json_schema(list(dict.fromkeys(wanted)), by_alias=True, ref_template=REF + "{model}")
    schemas: Json = made["$defs"]
    for operation in operations.values():
        if operation.has_body and operation.path_fields:
            schemas[_body_name(operation)] = _without(schemas[operation.input.__name__], operation.path_fields)
    # Unset metadata are left out of an answer, so only what is always there is required of it.
    schemas["Metadata"]["required"] = [Metadata.model_fields[name].alias or name for name in _METADATA_ALWAYS]
    schemas["Pagination"]["required"] = ["limit", "total", "totalIsLowerBound", "hasNext"]
    schemas["ErrorBody"]["required"] = ["code", "message", "retryable"]
    return schemas


_METADATA_ALWAYS = ("request_id", "correlation_id", "timestamp", "latency")
_CALLER = ["userGroups", "effectivePermissions", "dataAccessLevel"]
