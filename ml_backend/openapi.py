"""The doors of ml_backend as OpenAPI 3.1, for whoever writes a camera's client: `GET /openapi.json`.

What pydantic checks is described by its models; Label Studio's bodies are described as far as they are read. The fuzz test holds each
answer against this description.
"""

from __future__ import annotations

from flask import Blueprint
from pydantic.json_schema import models_json_schema

from labelwheel.openapi import (
    INTEGER,
    NUMBER,
    OBJECT,
    REF,
    STRING,
    Json,
    array,
    as_json,
    detection,
    error,
    nullable,
    operation,
    record,
    ref,
)
from ml_backend.auth import WEBHOOK_HEADER, by_any
from ml_backend.inspect import Arrival, Question

blueprint = Blueprint("openapi", __name__)

BASIC: Json = {"basic": []}
BEARER: Json = {"bearer": []}
SECRET: Json = {"secret": []}
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
    answer = record(status=STRING, model_class=STRING, unanswered={"type": "object", "additionalProperties": INTEGER})
    return operation("Whether the database answers.", [], {200: answer})


def _setup() -> Json:
    body = {"type": "object", "description": "Label Studio's; nothing of it is read."}
    return operation("The version that predictions carry.", [BASIC], {200: record(model_version=VERSION)}, as_json(body), 400, 413)


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
    one = {"type": "object", "required": ["result"], "properties": {"result": array(OBJECT), "score": NUMBER, "model_version": STRING}}
    results = array({"anyOf": [array(one), one]})
    return operation("One entry for each task, in order.", [BASIC], {200: record(results=results)}, as_json(body), 400, 413)


def _versions() -> Json:
    return operation("Every version ever served, newest first.", [BASIC], {200: record(versions=array(STRING))})


def _webhook() -> Json:
    body = {"type": "object", "required": ["action"], "properties": {"action": {"type": "string", "pattern": "^[A-Z_]{1,60}$"}}}
    said = record(status={"enum": ["ignored", "noted", "asked"]})
    return operation("Label Studio's webhook.", [SECRET, BASIC], {200: said, 202: said}, as_json(body), 400, 413, 503)


def _inspect() -> Json:
    arrival = _schemas()["Arrival"]
    fields = {**arrival["properties"], "image": {"type": "string", "format": "binary"}}
    body = {"type": "object", "required": [*arrival["required"], "image"], "properties": fields}
    looks = {200: ref("Look"), 201: ref("Look")}
    content = {"multipart/form-data": {"schema": body}}
    return operation("Store an image, and say what the champion sees on it.", [BEARER], looks, content, 400, 404, 409, 410, 413, 429)


def _known() -> Json:
    answer = {200: record(known=array(STRING), other=array(STRING))}
    body = as_json(ref("Question"))
    return operation("Which images need not be sent again.", [BEARER], answer, body, 400, 404, 413)


def _image() -> Json:
    found = operation("An image's bytes. The signature is the permission.", [], {}, None, 404, 410, 416)
    token = {"name": "token", "in": "path", "required": True, "schema": STRING}
    kinds = ("jpeg", "png", "bmp", "webp", "tiff")
    whole = {"description": "OK", "content": {f"image/{kind}": {} for kind in kinds}}
    return {
        **found,
        "parameters": [token],
        "responses": {"200": whole, "206": whole, "304": {"description": "Known"}, **found["responses"]},
    }


def _openapi() -> Json:
    return operation("This description.", [BASIC, BEARER], {200: OBJECT})


def _schemas() -> Json:
    look = record(
        capture=INTEGER,
        external_id=STRING,
        source=STRING,
        image=STRING,
        width=INTEGER,
        height=INTEGER,
        model_version=VERSION,
        detections=nullable(array(ref("Detection"))),
    )
    taken = models_json_schema([(Arrival, "validation"), (Question, "validation")], ref_template=REF)[1]["$defs"]
    return {"Error": error(), "Detection": detection(), "Look": look, **taken}


def _schemes() -> Json:
    return {
        "basic": {"type": "http", "scheme": "basic", "description": "Label Studio's, with LABELWHEEL_ML_BACKEND_PASSWORD."},
        "bearer": {"type": "http", "scheme": "bearer", "description": "A camera's, with LABELWHEEL_API_TOKEN."},
        "secret": {"type": "apiKey", "in": "header", "name": WEBHOOK_HEADER, "description": "LABELWHEEL_WEBHOOK_SECRET."},
    }
