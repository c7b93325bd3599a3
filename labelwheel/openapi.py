"""Parts of an OpenAPI 3.1 description: what the descriptions of our web servers are put together from. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

Json = dict[str, Any]

REF = "#/components/schemas/{model}"
STRING: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
INTEGER: Json = {"type": "integer"}
BOOLEAN: Json = {"type": "boolean"}
OBJECT: Json = {"type": "object"}


def operation(summary: str, security: list[Json], answers: dict[int, Json], body: Json | None = None, *refusals: int) -> Json:
    """One request: its answers' schemas by status, the content of its body if it has one, and the statuses of refusals.

    Without the right key it is refused with 401, where it needs one. Refusals are an `Error`, which the schemas must hold.
    """
    refused = {str(status): answered(status, ref("Error")) for status in (*([401] if security else []), *refusals)}
    found = {
        "summary": summary,
        "security": security,
        "responses": {str(key): answered(key, said) for key, said in answers.items()} | refused,
    }
    return {**found, "requestBody": {"required": True, "content": body}} if body else found


def answered(status: int, schema: Json) -> Json:
    retry = {"headers": {"Retry-After": {"schema": INTEGER, "required": True}}} if status == 429 else {}
    return {"description": HTTPStatus(status).phrase, "content": as_json(schema), **retry}


def error() -> Json:
    """The one shape of refusals."""
    return record(error=record(code=STRING, message=STRING, cure=STRING))


def detection() -> Json:
    """One object that a model found; what only some tasks give is not required."""
    found = record(label=STRING, box=numbers(4, "left, top, right, bottom in pixels"), confidence=NUMBER)
    point = {**array({}), "minItems": 4, "maxItems": 4, "description": "name, x and y in pixels, confidence"}
    found["properties"] |= {
        "rotated": numbers(5, "centre, width and height in pixels, and the angle in degrees, clockwise"),
        "polygon": array(numbers(2, "x and y in pixels")),
        "keypoints": array(point),
        "whole": {"const": True, "description": "A class of the whole image."},
    }
    return found


def ref(model: str) -> Json:
    return {"$ref": REF.format(model=model)}


def record(**properties: Json) -> Json:
    """An object that has all of these."""
    return {"type": "object", "required": list(properties), "properties": properties}


def array(items: Json) -> Json:
    return {"type": "array", "items": items}


def numbers(count: int, description: str) -> Json:
    return {**array(NUMBER), "minItems": count, "maxItems": count, "description": description}


def nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def as_json(schema: Json) -> Json:
    """A body or an answer of JSON."""
    return {"application/json": {"schema": schema}}
