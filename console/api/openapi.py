"""The REST API as OpenAPI 3.1, for whoever writes a client: `GET /api/openapi.json`.

Queries and bodies are described by the models that check them. The tests hold each answer against this description.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from pydantic.json_schema import models_json_schema

from console.api.corrections import CorrectionsQuery
from console.api.inspection_logs import LogQuery
from console.api.labeling_queue import ExportQuery, Label, QueueQuery, Said, Skip
from console.api.query import Query
from console.api.retraining import Brake, HistoryQuery, Push
from labelwheel.database.tables import QUEUE_STATUSES, VERDICTS
from labelwheel.openapi import (
    BOOLEAN,
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

blueprint = Blueprint("openapi", __name__, url_prefix="/api")

BEARER: list[Json] = [{"bearer": []}, {"session": []}]
MOMENT: Json = {"type": "string", "format": "date-time"}
STATUS: Json = {"enum": list(QUEUE_STATUSES)}
SHA256: Json = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
ACTS = {
    "approve": "Approve the newest label; it gets the ground-truth star in Label Studio.",
    "reject": "Reject the newest label.",
    "skip": "Say that nobody can label it: a cancelled annotation in Label Studio.",
    "flag": "Ask for a look before all others.",
}


@blueprint.get("/openapi.json")
def show() -> Json:
    return describe()


def describe() -> Json:
    """The description. Pure."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Labelwheel", "version": "1", "description": "The console's REST API. What is no HTTP is answered 400 or 431."},
        "paths": {**_queue(), **_others(), **_retraining(), **_seen()},
        "components": {"schemas": _schemas(), "securitySchemes": _schemes()},
    }


def _queue() -> Json:
    page = record(items=array(ref("Item")), next=nullable(STRING))
    counts = {"type": "object", "additionalProperties": INTEGER}
    stats = record(total=INTEGER, by_status=counts, by_reason={"type": "object", "additionalProperties": counts})
    answers = {
        f"/api/labeling-queue/{{item}}/{act}": {"post": _answer(summary, "Skip" if act == "skip" else "Said")}
        for act, summary in ACTS.items()
    }
    return {
        "/api/labeling-queue": {"get": _asked("Items, most urgent first.", page, QueueQuery, 400)},
        "/api/labeling-queue/stats": {"get": _asked("Counts by status, and by reason and status.", stats)},
        "/api/labeling-queue/export": {"get": _export()},
        "/api/labeling-queue/{item}": {"get": _of_item(_asked("An item, its history, verdicts and standing labels.", ref("ShownItem")))},
        "/api/labeling-queue/{item}/label": {"post": _answer("Submit a label; it becomes an annotation in Label Studio.", "Label")},
        **answers,
    }


def _seen() -> Json:
    page = record(items=array(ref("Sight")), next=nullable(STRING))
    return {
        "/api/inspection-logs": {"get": _asked("Captures and what the model saw, the newest first.", page, LogQuery, 400)},
        "/api/images/{sha256}": {"get": _image()},
    }


def _others() -> Json:
    return {
        "/health": {"get": operation("Whether the database answers.", [], {200: record(status=STRING, database=STRING)}, None, 503)},
        "/api/openapi.json": {"get": operation("This description.", BEARER, {200: OBJECT})},
        "/api/overview": {"get": _asked("All that the overview page shows.", OBJECT)},
        "/api/door": {"get": _asked("Whether cameras may send, and what is stored.", OBJECT)},
        "/api/predictions/requests": {"get": _asked("Tasks that batches left over.", OBJECT)},
        "/api/metrics/corrections": {"get": _asked("What people did to boxes drawn beforehand.", OBJECT, CorrectionsQuery)},
        "/api/metrics/drift": {"get": _asked("Scores by source and feature, open alerts.", OBJECT)},
    }


def _retraining() -> Json:
    run, runs = record(run=INTEGER, status=STRING), record(runs=array(OBJECT), next=nullable(INTEGER))
    bought = record(run=INTEGER, labels=OBJECT, cost=nullable(OBJECT), lines=array(STRING))
    return {
        "/api/retraining/status": {"get": _asked("Where the wheel stands.", record(state=STRING, should_retrain=BOOLEAN, told=STRING))},
        "/api/retraining/conditions": {"get": _asked("Why it would turn next.", record(told=STRING, reasons=array(OBJECT)))},
        "/api/retraining/history": {"get": _asked("Runs, newest first.", runs, HistoryQuery)},
        "/api/retraining/events": {"get": _events()},
        "/api/retraining/trigger": {"post": _pushed("Queue a run.", "Push", {202: run}, 400, 404, 409)},
        "/api/retraining/cancel": {"post": _pushed("End a run.", "Brake", {200: run}, 400, 404, 409)},
        "/api/retraining/{run}": {"get": _of_run(_asked("One run.", record(id=INTEGER, status=STRING)))},
        "/api/retraining/{run}/receipt": {"get": _of_run(_asked("What the labels of a run bought.", bought, Query, 409))},
    }


def _asked(summary: str, schema: Json, query: type[Query] = Query, *refusals: int) -> Json:
    parameters = _parameters(query)
    found = operation(summary, BEARER, {200: schema}, None, 404, *([422] if parameters else []), *refusals)
    return {**found, "parameters": parameters}


def _parameters(query: type[Query]) -> list[Json]:
    """The fields of a query, whose types are plain."""
    fields: Json = query.model_json_schema().get("properties", {})
    return [{"name": name, "in": "query", "schema": _given(field)} for name, field in fields.items()]


def _given(field: Json) -> Json:
    """What may be given: a field that may be left out is no null then."""
    kinds: list[Json] = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
    return kinds[0]


def _answer(summary: str, body: str) -> Json:
    found = operation(summary, BEARER, {200: ref("ShownItem")}, as_json(ref(body)), 400, 404, 413, 415, 422, 502, 503)
    found["responses"]["409"] = {"description": "It stands elsewhere, as `item` says", "content": as_json(ref("Answered"))}
    return _of_item(found)


def _events() -> Json:
    found = operation("The active run as server-sent events: progress, end, idle.", BEARER, {}, None, 404, 429)
    return {**found, "responses": {"200": {"description": "The stream", "content": {"text/event-stream": {}}}, **found["responses"]}}


def _pushed(summary: str, body: str, answers: dict[int, Json], *refusals: int) -> Json:
    """What may come without a body."""
    found = operation(summary, BEARER, answers, as_json(ref(body)), *refusals, 413, 415, 422)
    return {**found, "requestBody": {**found["requestBody"], "required": False}}


def _of_run(found: Json) -> Json:
    run = {"name": "run", "in": "path", "required": True, "schema": {**INTEGER, "minimum": 0}}
    return {**found, "parameters": [run]}


def _of_item(found: Json) -> Json:
    item = {"name": "item", "in": "path", "required": True, "schema": {**INTEGER, "minimum": 0}}
    return {**found, "parameters": [item]}


def _export() -> Json:
    found = _asked("Approved labels as a zip of a folder that ultralytics reads.", OBJECT, ExportQuery, 409)
    found["responses"]["200"] = {"description": "The zip, streamed", "content": {"application/zip": {}}}
    return found


def _image() -> Json:
    found = operation("The bytes of an image.", BEARER, {}, None, 404, 410, 416)
    whole = {"description": "OK", "content": {f"image/{kind}": {} for kind in ("jpeg", "png", "bmp", "webp", "tiff")}}
    name = {"name": "sha256", "in": "path", "required": True, "schema": SHA256}
    responses = {"200": whole, "206": whole, "304": {"description": "Known"}, **found["responses"]}
    return {**found, "parameters": [name], "responses": responses}


def _schemas() -> Json:
    taken = models_json_schema([(kind, "validation") for kind in (Said, Skip, Label, Push, Brake)], ref_template=REF)[1]["$defs"]
    answered = {**error(), "properties": {**error()["properties"], "item": ref("ShownItem"), "again": STRING}}
    shown = {"allOf": [ref("Item"), _more_of_item()]}
    return {
        **taken, "Error": error(), "Answered": answered, "Item": _item(), "ShownItem": shown, "Detection": detection(), "Sight": _sight(),
    }  # fmt: skip


def _item() -> Json:
    return record(
        id=INTEGER,
        status=STATUS,
        reason=STRING,
        priority=NUMBER,
        scores=OBJECT,
        round=INTEGER,
        source=STRING,
        external_id=STRING,
        captured_at=MOMENT,
        image=SHA256,
        created_at=MOMENT,
        updated_at=MOMENT,
    )


def _more_of_item() -> Json:
    event = record(status={"enum": [*QUEUE_STATUSES, "replaced"]}, who=STRING, why=STRING, at=MOMENT)
    review = record(verdict={"enum": [*VERDICTS, "skipped"]}, annotation=STRING, who=STRING, why=STRING, at=MOMENT)
    label = record(
        id=INTEGER,
        boxes=array(OBJECT),
        exclusions=array(OBJECT),
        annotator=STRING,
        annotated_at=MOMENT,
        approved_at=nullable(MOMENT),
        approved_by=nullable(STRING),
    )
    return record(width=INTEGER, height=INTEGER, task=nullable(INTEGER), history=array(event), reviews=array(review), labels=array(label))


def _sight() -> Json:
    return record(
        id=INTEGER,
        external_id=STRING,
        source=STRING,
        captured_at=MOMENT,
        received_at=MOMENT,
        image=SHA256,
        width=INTEGER,
        height=INTEGER,
        audit=BOOLEAN,
        model_version=nullable(STRING),
        detections=nullable(array(ref("Detection"))),
        uncertainty=nullable(record(in_band=INTEGER, score=NUMBER)),
        queue=nullable(record(id=INTEGER, status=STATUS, reason=STRING)),
    )


def _schemes() -> dict[str, Any]:
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": "LABELWHEEL_API_TOKEN."},
        "session": {"type": "apiKey", "in": "cookie", "name": "labelwheel", "description": "The page's; POSTs also need its X-CSRFToken."},
    }
