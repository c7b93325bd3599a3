"""The doors of ml_backend as OpenAPI 3.1, for whoever writes a camera's client: `GET /openapi.json`.

What pydantic checks is described by its models; Label Studio's bodies are described as far as they are read. The fuzz test holds each
answer against this description.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint
from pydantic.json_schema import models_json_schema

from ml_backend.auth import WEBHOOK_HEADER, by_any
from ml_backend.inspect import Arrival, Question

blueprint = Blueprint("openapi", __name__)

Json = dict[str, Any]

BASIC: Json = {"basic": []}
BEARER: Json = {"bearer": []}
SECRET: Json = {"secret": []}
REF = "#/components/schemas/{model}"
STRING, NUMBER, INTEGER, OBJECT = ({"type": name} for name in ("string", "number", "integer", "object"))
VERSION = {"type": ["string", "null"], "description": "What serves, such as `labelwheel@3`; null while nothing is deployed."}


@blueprint.get("/openapi.json")
@by_any
def openapi() -> Json:
    """Nothing in it is secret; that a stranger sees no door but `/health` is simply the rule."""
    return describe()


def describe() -> Json:
    """The description. Pure."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ml_backend",
            "version": "1",
            "description": "Where Label Studio asks for predictions and cameras send images. What is no HTTP is answered 400 or 431.",
        },
        "paths": {
            "/health": {"get": _health()},
            "/setup": {"post": _setup()},
            "/predict": {"post": _predict()},
            "/versions": {"get": _versions()},
            "/webhook": {"post": _webhook()},
            "/inspect": {"post": _inspect()},
            "/inspect/known": {"post": _known()},
            "/images/{token}": {"get": _image()},
            "/openapi.json": {"get": _openapi()},
        },
        "components": {"schemas": _schemas(), "securitySchemes": _schemes()},
    }


def _health() -> Json:
    answer = _object(status=STRING, model_class=STRING, unanswered={"type": "object", "additionalProperties": INTEGER})
    return _operation("Whether the database answers.", [], {200: answer})


def _setup() -> Json:
    body = {"type": "object", "description": "Label Studio's; nothing of it is read."}
    return _operation("The version that predictions carry.", [BASIC], {200: _object(model_version=VERSION)}, _json(body), 400, 413)


def _predict() -> Json:
    body = {
        "type": "object",
        "required": ["tasks"],
        "properties": {
            "tasks": {"type": "array", "items": {"type": "object", "properties": {"id": INTEGER, "data": OBJECT}}},
            "project": {"description": "`<id>.<created>`; tasks of another project are answered `[]`."},
            "label_config": {"description": "XML. Left out: the project's own."},
            "params": {"description": "An object whose `context`, if any, marks an interactive request."},
        },
    }
    one = {"type": "object", "required": ["result"], "properties": {"result": _array(OBJECT), "score": NUMBER, "model_version": STRING}}
    results = _array({"anyOf": [_array(one), one]})
    return _operation("One entry for each task, in order.", [BASIC], {200: _object(results=results)}, _json(body), 400, 413)


def _versions() -> Json:
    return _operation("Every version ever served, newest first.", [BASIC], {200: _object(versions=_array(STRING))})


def _webhook() -> Json:
    body = {"type": "object", "required": ["action"], "properties": {"action": {"type": "string", "pattern": "^[A-Z_]{1,60}$"}}}
    said = _object(status={"enum": ["ignored", "noted", "asked"]})
    return _operation("Label Studio's webhook.", [SECRET, BASIC], {200: said, 202: said}, _json(body), 400, 413, 503)


def _inspect() -> Json:
    arrival = _schemas()["Arrival"]
    fields = {**arrival["properties"], "image": {"type": "string", "format": "binary"}}
    body = {"type": "object", "required": [*arrival["required"], "image"], "properties": fields}
    looks = {200: {"$ref": REF.format(model="Look")}, 201: {"$ref": REF.format(model="Look")}}
    content = {"multipart/form-data": {"schema": body}}
    return _operation("Store an image, and say what the champion sees on it.", [BEARER], looks, content, 400, 404, 409, 410, 413, 429)


def _known() -> Json:
    answer = {200: _object(known=_array(STRING), other=_array(STRING))}
    body = _json({"$ref": REF.format(model="Question")})
    return _operation("Which images need not be sent again.", [BEARER], answer, body, 400, 404, 413)


def _image() -> Json:
    found = _operation("An image's bytes. The signature is the permission.", [], {}, None, 404, 410, 416)
    token = {"name": "token", "in": "path", "required": True, "schema": STRING}
    kinds = ("jpeg", "png", "bmp", "webp", "tiff")
    whole = {"description": "OK", "content": {f"image/{kind}": {} for kind in kinds}}
    return {
        **found,
        "parameters": [token],
        "responses": {"200": whole, "206": whole, "304": {"description": "Known"}, **found["responses"]},
    }


def _openapi() -> Json:
    return _operation("This description.", [BASIC, BEARER], {200: OBJECT})


def _operation(summary: str, security: list[Json], answers: dict[int, Json], body: Json | None = None, *refusals: int) -> Json:
    refused = {str(status): _answer(status, {"$ref": REF.format(model="Error")}) for status in (*([401] if security else []), *refusals)}
    found = {
        "summary": summary,
        "security": security,
        "responses": {str(key): _answer(key, said) for key, said in answers.items()} | refused,
    }
    return {**found, "requestBody": {"required": True, "content": body}} if body else found


def _answer(status: int, schema: Json) -> Json:
    retry = {"headers": {"Retry-After": {"schema": INTEGER, "required": True}}} if status == 429 else {}
    return {"description": HTTPStatus(status).phrase, "content": _json(schema), **retry}


def _schemas() -> Json:
    error = _object(error=_object(code=STRING, message=STRING, cure=STRING))
    detection = _object(label=STRING, box=_numbers(4, "left, top, right, bottom in pixels"), confidence=NUMBER)
    detection["properties"] |= _of_tasks()
    look = _object(
        capture=INTEGER,
        external_id=STRING,
        source=STRING,
        image=STRING,
        width=INTEGER,
        height=INTEGER,
        model_version=VERSION,
        detections={"anyOf": [_array({"$ref": REF.format(model="Detection")}), {"type": "null"}]},
    )
    taken = models_json_schema([(Arrival, "validation"), (Question, "validation")], ref_template=REF)[1]["$defs"]
    return {"Error": error, "Detection": detection, "Look": look, **taken}


def _of_tasks() -> Json:
    """What a detection holds besides, where the model's task gives it."""
    point = {**_array({}), "minItems": 4, "maxItems": 4, "description": "name, x and y in pixels, confidence"}
    return {
        "rotated": _numbers(5, "centre, width and height in pixels, and the angle in degrees, clockwise"),
        "polygon": _array(_numbers(2, "x and y in pixels")),
        "keypoints": _array(point),
        "whole": {"const": True, "description": "A class of the whole image."},
    }


def _numbers(count: int, description: str) -> Json:
    return {**_array(NUMBER), "minItems": count, "maxItems": count, "description": description}


def _schemes() -> Json:
    return {
        "basic": {"type": "http", "scheme": "basic", "description": "Label Studio's, with LABELWHEEL_ML_BACKEND_PASSWORD."},
        "bearer": {"type": "http", "scheme": "bearer", "description": "A camera's, with LABELWHEEL_API_TOKEN."},
        "secret": {"type": "apiKey", "in": "header", "name": WEBHOOK_HEADER, "description": "LABELWHEEL_WEBHOOK_SECRET."},
    }


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _array(items: Json) -> Json:
    return {"type": "array", "items": items}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
