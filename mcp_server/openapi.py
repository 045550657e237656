"""The OpenAPI 3.1 document, made from the table of operations."""

from http import HTTPStatus
from typing import Any

from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain.base import Contract
from domain.envelope import Failure, Metadata, Pagination, RequestMetadata
from domain.errors import ERRORS, ErrorCode
from domain.health import LivenessOutput
from domain.ids import GROUP_ID, TRACE_ID
from mcp_server import upload_door
from mcp_server.flat import FlatField, fields_of
from mcp_server.http import Reply, Resource
from mcp_server.identity import CONTEXT, CORRELATION, IDEMPOTENCY, OVERRIDE, REQUEST
from mcp_server.operations import Operation

Json = dict[str, Any]

_REF = "#/components/schemas/"
_TAGS = {
    "completions": "Completions grounded in what your groups may see",
    "products": "The catalogue",
    "groups": "Groups and permissions",
    "health": "Health",
    "ingestion": "Administration: taking files in",
    "jobs": "Long-running calls",
}
_ALWAYS = (
    ErrorCode.UNAUTHENTICATED,
    ErrorCode.FORBIDDEN,
    ErrorCode.INVALID_ARGUMENT,
    ErrorCode.RATE_LIMITED,
    ErrorCode.INTERNAL,
    ErrorCode.PROVIDER_UNAVAILABLE,
    ErrorCode.DEADLINE_EXCEEDED,
)


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
    paths["/api/v1/health"] = {"get": _liveness()}
    paths[upload_door.PATH] = {"post": _upload()}
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
            "parameters": _PARAMETERS,
            "responses": _responses(),
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(operation: Operation) -> Json:
    codes = [*_ALWAYS, ErrorCode.NOT_FOUND]
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
                "headers": _ECHOED,
                "content": {"application/json": {"schema": _envelope(operation)}},
            },
            **{str(ERRORS[code].status): {"$ref": f"#/components/responses/{code.value}"} for code in sorted(codes)},
        },
    }
    if operation.method == "POST":
        said["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _body(operation), "example": {"data": operation.example}}},
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
            "data": {"$ref": _REF + operation.input.__name__},
            "metadata": {"anyOf": [{"$ref": _REF + "RequestMetadata"}, {"type": "null"}]},
        },
        "required": ["data"],
        "additionalProperties": False,
    }


def _envelope(operation: Operation) -> Json:
    properties: Json = {
        "success": {"const": True},
        "data": {"$ref": _REF + operation.output.__name__},
        "metadata": {"$ref": _REF + "Metadata"},
    }
    if operation.paginated:
        properties["pagination"] = {"$ref": _REF + "Pagination"}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _parameters(operation: Operation) -> list[Json]:
    common = ["correlationId", "requestId", "groupContext", "groupOverride"]
    if operation.effect:
        common.append("idempotencyKey")
    fields = fields_of(operation.input)
    asked = [field for field in fields if operation.method == "GET" or field.wire_name in operation.path_fields]
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
        if operation.method == "POST":
            wanted.append((operation.input, "validation"))
        wanted.append((operation.output, "serialization"))
    _, made = models_json_schema(list(dict.fromkeys(wanted)), by_alias=True, ref_template=_REF + "{model}")
    schemas: Json = made["$defs"]
    # Unset metadata are left out of an answer, so only what is always there is required of it.
    schemas["Metadata"]["required"] = [Metadata.model_fields[name].alias or name for name in _METADATA_ALWAYS]
    schemas["Pagination"]["required"] = ["limit", "total", "totalIsLowerBound", "hasNext"]
    schemas["ErrorBody"]["required"] = ["code", "message", "retryable"]
    return schemas


_METADATA_ALWAYS = (
    "request_id",
    "correlation_id",
    "timestamp",
    "latency",
    "user_groups",
    "effective_permissions",
    "data_access_level",
)


def _responses() -> Json:
    """One response for each error code; its status says the same."""
    said: Json = {}
    for code, traits in ERRORS.items():
        retry = " A retry can help." if traits.retryable else ""
        said[code.value] = {
            "description": f"{HTTPStatus(traits.status).phrase}: `{code.value}`.{retry}",
            "headers": _ECHOED,
            "content": {"application/json": {"schema": {"$ref": _REF + "Failure"}}},
        }
    return said


_TEXT: Json = {"schema": {"type": "string"}}
_ECHOED: Json = {
    CORRELATION: {"description": "The id that follows the whole piece of work.", **_TEXT},
    REQUEST: {"description": "The id of this request; it finds the workflow in the Temporal UI.", **_TEXT},
}


def _header(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


_TRACE: Json = {"type": "string", "pattern": f"^{TRACE_ID.pattern}$"}
_GROUP: Json = {"type": "string", "pattern": f"^{GROUP_ID.pattern}$"}
_PARAMETERS: Json = {
    "correlationId": _header(CORRELATION, "Follows a piece of work over many calls; echoed.", _TRACE),
    "requestId": _header(REQUEST, "Follows this call; echoed.", _TRACE),
    "groupContext": _header(CONTEXT, "Narrows the call to one of your groups.", _GROUP),
    "groupOverride": _header(OVERRIDE, "Acts as a group that you administer; audited under your name.", _GROUP),
    "idempotencyKey": _header(
        IDEMPOTENCY,
        "A retry with the same key and input gets the first answer, for 24 hours.",
        {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[ -~]+$"},
    ),
}


def _liveness() -> Json:
    schema: Json = {
        "type": "object",
        "properties": {
            "success": {"const": True},
            "data": {"$ref": _REF + "LivenessOutput"},
            "metadata": {"$ref": _REF + "Metadata"},
        },
        "required": ["success", "data", "metadata"],
    }
    return {
        "operationId": "health_live",
        "tags": ["health"],
        "summary": "That this front door answers. Takes no key.",
        "security": [],
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in ("correlationId", "requestId")],
        "responses": {
            "200": {"description": "It does.", "content": {"application/json": {"schema": schema}}},
            "422": {"$ref": "#/components/responses/invalid_argument"},
        },
    }


def _upload() -> Json:
    data: Json = {
        "type": "object",
        "properties": {"uploadId": {"type": "string"}, "bytes": {"type": "integer"}},
        "required": ["uploadId", "bytes"],
    }
    schema: Json = {
        "type": "object",
        "properties": {"success": {"const": True}, "data": data, "metadata": {"$ref": _REF + "Metadata"}},
        "required": ["success", "data", "metadata"],
    }
    codes = (*_ALWAYS, ErrorCode.NOT_FOUND)
    return {
        "operationId": "uploads_create",
        "tags": ["ingestion"],
        "summary": "Send a file for an ingestion: the raw body, 256 MiB at most, kept for a day.",
        "description": "Takes the permission `products:write` or `documents:write`.",
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in _PARAMETERS if name != "idempotencyKey"],
        "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {}}}},
        "responses": {
            "201": {"description": "It is kept.", "content": {"application/json": {"schema": schema}}},
            **{str(ERRORS[code].status): {"$ref": f"#/components/responses/{code.value}"} for code in codes},
        },
    }
