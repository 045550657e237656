"""What of the OpenAPI document is not made from the table: headers, errors, and the two routes besides it."""

from http import HTTPStatus
from typing import Any

from domain.errors import ERRORS, ErrorCode
from domain.ids import GROUP_ID, TRACE_ID
from mcp_server.identity import CONTEXT, CORRELATION, IDEMPOTENCY, OVERRIDE, REQUEST

Json = dict[str, Any]

REF = "#/components/schemas/"
ALWAYS = (
    ErrorCode.UNAUTHENTICATED,
    ErrorCode.FORBIDDEN,
    ErrorCode.INVALID_ARGUMENT,
    ErrorCode.RATE_LIMITED,
    ErrorCode.INTERNAL,
    ErrorCode.PROVIDER_UNAVAILABLE,
    ErrorCode.DEADLINE_EXCEEDED,
)


def responses() -> Json:
    """One response for each error code, and for the two statuses that a door answers before it knows the operation."""
    said: Json = {}
    for code, traits in ERRORS.items():
        retry = " A retry can help." if traits.retryable else ""
        retry = " A retry can help where `retryable` says so." if traits.sometimes else retry
        said[code.value] = _response(traits.status, f"`{code.value}`.{retry}")
    for name, (status, why) in _BEFORE.items():
        said[name] = _response(status, f"`{ErrorCode.INVALID_ARGUMENT.value}`. {why}")
    return said


_BEFORE = {
    "wrong_method": (405, "The address has other methods; `Allow` names them."),
    "wrong_host": (421, "The name in `Host` is not one of this front door's (`COHORT_ALLOWED_HOSTS`)."),
}


def refs(*codes: ErrorCode) -> Json:
    """References to the responses of these codes and of every address, by status."""
    named = {ERRORS[code].status: code.value for code in codes} | {
        status: name for name, (status, _) in _BEFORE.items()
    }
    return {str(status): {"$ref": f"#/components/responses/{named[status]}"} for status in sorted(named)}


def _response(status: int, said: str) -> Json:
    return {
        "description": f"{status} {HTTPStatus(status).phrase}: {said}",
        "headers": ECHOED,
        "content": {"application/json": {"schema": {"$ref": REF + "Failure"}}},
    }


_TEXT: Json = {"schema": {"type": "string"}}
ECHOED: Json = {
    CORRELATION: {"description": "The id that follows the whole piece of work.", **_TEXT},
    REQUEST: {"description": "The id of this request; it finds the workflow in the Temporal UI.", **_TEXT},
}


def _header(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


_TRACE: Json = {"type": "string", "pattern": f"^{TRACE_ID.pattern}$"}
_GROUP: Json = {"type": "string", "pattern": f"^{GROUP_ID.pattern}$"}
PARAMETERS: Json = {
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


def liveness() -> Json:
    """`GET /api/v1/health`."""
    schema: Json = {
        "type": "object",
        "properties": {
            "success": {"const": True},
            "data": {"$ref": REF + "LivenessOutput"},
            "metadata": {"$ref": REF + "Metadata"},
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
            **refs(ErrorCode.INVALID_ARGUMENT),
        },
    }


def upload() -> Json:
    """`POST /api/v1/admin/uploads`."""
    data: Json = {
        "type": "object",
        "properties": {"uploadId": {"type": "string"}, "bytes": {"type": "integer"}},
        "required": ["uploadId", "bytes"],
    }
    schema: Json = {
        "type": "object",
        "properties": {"success": {"const": True}, "data": data, "metadata": {"$ref": REF + "Metadata"}},
        "required": ["success", "data", "metadata"],
    }
    return {
        "operationId": "uploads_create",
        "tags": ["ingestion"],
        "summary": "Send a file for an ingestion: the raw body, 256 MiB at most.",
        "description": (
            "What one user has sent and nobody took in yet may have 1 GiB together. "
            "The upload is kept for a day, or until an ingestion that has taken rows of it in has completed. One that "
            "took none in (the kind was wrong) or stopped leaves it for another start.\n\n"
            "Takes the permission `products:write` or `documents:write`."
        ),
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in PARAMETERS if name != "idempotencyKey"],
        "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {}}}},
        "responses": {
            "201": {"description": "It is kept.", "content": {"application/json": {"schema": schema}}},
            **refs(*ALWAYS, ErrorCode.NOT_FOUND),
        },
    }
