"""OpenAPI 3.1 description of the service (https://spec.openapis.org/oas/v3.1.0), served at ``/openapi.json``."""

from collections.abc import Sequence
from typing import Any

from fmnist_runtime.serve.settings import Settings, default_top_k

__all__ = ["describe"]

_Json = dict[str, Any]

_TOP = {
    "type": "object",
    "required": ["label", "class_id", "probability"],
    "properties": {
        "label": {"type": "string"},
        "class_id": {"type": "integer", "minimum": 0},
        "probability": {"$ref": "#/components/schemas/Probability"},
    },
}
_ANSWER = {
    "type": "object",
    "description": "As a line of fmnist-infer --json. A picture that could not be read has `error` and no label.",
    "required": ["path", "label", "class_id", "probability", "top", "rejected"],
    "properties": {
        "path": {"type": "string", "description": "The file's name; - for a body that is one picture."},
        "label": {"type": ["string", "null"], "description": "Null where the picture was rejected or not readable."},
        "class_id": {"type": ["integer", "null"]},
        "probability": {"oneOf": [{"$ref": "#/components/schemas/Probability"}, {"type": "null"}]},
        "top": {"type": "array", "items": {"$ref": "#/components/schemas/Top"}},
        "rejected": {"type": "boolean"},
        "reason": {"type": "string"},
        "error": {"type": "string"},
    },
}
_SCHEMAS = {
    "Probability": {"type": "number", "minimum": 0, "maximum": 1.000001},
    "Top": _TOP,
    "Answer": _ANSWER,
    "Answers": {
        "type": "object",
        "required": ["answers"],
        "properties": {"answers": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Answer"}}},
    },
    "Status": {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}},
    "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
}
_REFUSALS = {
    400: "The body ended early, or its length is no number.",
    401: "The token is missing or wrong.",
    408: "The body arrived too slowly.",
    413: "The body is too large, or has too many files.",
    415: "The media type of the body is not supported.",
    422: "No picture that can be read, one of too many pixels, a malformed form, or a parameter out of range.",
    503: "The service is overloaded; `Retry-After` is the time until the next attempt, in seconds.",
}


def describe(labels: Sequence[str], settings: Settings) -> _Json:
    """Returns the document for a model and settings."""
    document: _Json = {
        "openapi": "3.1.0",
        "info": {"title": "fmnist-serve", "version": "1", "description": f"Classes: {', '.join(labels)}."},
        "paths": {
            "/classify": {"post": _classify(len(labels), settings.limits.files)},
            "/healthz": {"get": _get("The process is alive.", "Status")},
            "/readyz": {
                "get": _get(
                    "The service takes requests; 503 while it drains, or while no worker process can be started.",
                    "Status",
                    503,
                )
            },
            "/openapi.json": {"get": _get("This document.", None)},
            "/metrics": {"get": _metrics()},
        },
        "components": {"schemas": _SCHEMAS},
    }
    if settings.token is not None:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, method in (("/classify", "post"), ("/metrics", "get")):
            document["paths"][path][method]["security"] = [{"token": []}]
            document["paths"][path][method]["responses"]["401"] = _refusal(401)
    return document


def _classify(classes: int, files: int) -> _Json:
    picture = {"schema": {"type": "string", "format": "binary"}}
    form = {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "array", "minItems": 1, "maxItems": files, "items": picture["schema"]},
        },
    }
    parameters = [
        ("top_k", {"type": "integer", "minimum": 1, "maximum": classes, "default": default_top_k(classes)}),
        ("reject", {"type": "boolean", "default": True}),
    ]
    return {
        "summary": "Classify pictures.",
        "description": "The body is one picture, or a form whose parts with a file name are pictures, whatever their field.",
        "parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in parameters],
        "requestBody": {
            "required": True,
            "content": {
                "image/*": picture,
                "application/octet-stream": picture,
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": {
            "200": _response("An answer for each picture; at least one could be read.", "Answers"),
            **{str(status): _refusal(status) for status in _REFUSALS if status != 401},
        },
    }


def _get(text: str, schema: str | None, *refusals: int) -> _Json:
    return {
        "summary": text,
        "responses": {"200": _response(text, schema), **{str(status): _refusal(status) for status in refusals}},
    }


def _metrics() -> _Json:
    content = {"text/plain": {"schema": {"type": "string"}}}
    return {"summary": "For Prometheus.", "responses": {"200": {"description": "The metrics.", "content": content}}}


def _response(text: str, schema: str | None) -> _Json:
    body = {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}
    return {"description": text, "content": {"application/json": {"schema": body}}}


def _refusal(status: int) -> _Json:
    return _response(_REFUSALS[status], "Error")
