"""The camera's door: `POST /inspect` stores a capture, and answers what the champion sees on it.

Idempotent by external id: the same bytes are answered the same again, other bytes under a known id are a conflict.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from flask import Blueprint, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import Capture, Image, Project, utcnow
from labelwheel.errors import ConflictError, InputError
from labelwheel.serving import Served, detections_of, predict, stored_predictions
from labelwheel.vision import features, image
from labelwheel.vision.detection import Detection
from ml_backend.auth import by_token
from ml_backend.draw import draw
from ml_backend.state import State, state

blueprint = Blueprint("inspect", __name__)

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"  # PostgreSQL stores no NUL, and no page shows a control character


class Arrival(BaseModel):
    """What a camera says of an image."""

    model_config = ConfigDict(str_strip_whitespace=True)

    source: str = Field(min_length=1, max_length=100, pattern=PRINTABLE)
    external_id: str = Field(min_length=1, max_length=200, pattern=PRINTABLE)
    captured_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @field_validator("captured_at")
    @classmethod
    def _has_zone(cls, value: datetime) -> datetime:
        try:
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        except OverflowError as error:  # pydantic takes ValueError alone for a fault of the caller
            raise ValueError("out of range") from error


@blueprint.post("/inspect")
@by_token
def inspect() -> tuple[dict[str, Any], int]:
    """Form fields `source`, `external_id`, `captured_at` and the file `image`; answers detections in pixels of the upright image."""
    arrival, data = _arrival(), _uploaded()
    here, project = state(), state().project()
    pixels = image.decode(data, max_bytes=here.settings.max_image_bytes, max_pixels=here.settings.max_image_pixels)
    capture, fresh = _capture(here, project, arrival, data, pixels)
    served = here.champion(project.id).current()
    detections = _detections(here, served, capture, pixels) if served else None
    return _answer(capture, served, detections, here.settings.display_threshold), 201 if fresh else 200


def _arrival() -> Arrival:
    given = {name: value for name, value in request.form.items() if value}
    try:
        return Arrival.model_validate(given)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise InputError(
            f"The capture cannot be used: {faults}.", "Send form fields source, external_id and captured_at (ISO 8601)."
        ) from error


def _uploaded() -> bytes:
    file = request.files.get("image")
    if file is None:
        raise InputError(
            "There is no file `image` in the request.", "Send multipart/form-data with the image's bytes in the file field `image`."
        )
    data: bytes = file.read()
    return data


def _capture(here: State, project: Project, arrival: Arrival, data: bytes, pixels: Any) -> tuple[Capture, bool]:
    sha256 = image.digest(data)
    known = _known(here, project.id, arrival.external_id)
    if known is None:
        uri = here.store.put(data, sha256, image.sniff_suffix(data))
        row = _rows(project, arrival, sha256, data, pixels, uri, here)
        with here.database.write() as session:
            _insert(session, *row)
    capture = known or _known(here, project.id, arrival.external_id)
    if capture is None or capture.image.sha256 != sha256:
        message = f"External id {arrival.external_id!r} is known with other bytes."
        raise ConflictError(message, "Give every image an id of its own; resend an image with the very same bytes.")
    return capture, known is None


def _known(here: State, project_id: int, external_id: str) -> Capture | None:
    query = select(Capture).where(Capture.project_id == project_id, Capture.external_id == external_id)
    with here.database.read() as session:
        return session.scalar(query.options(joinedload(Capture.image)))


def _rows(
    project: Project, arrival: Arrival, sha256: str, data: bytes, pixels: Any, uri: str, here: State
) -> tuple[dict[str, Any], dict[str, Any]]:
    height, width = pixels.shape[:2]
    drawn = draw(project.salt, sha256, here.settings.audit_rate, here.settings.holdout_rate)
    stored = {
        "project_id": project.id,
        "sha256": sha256,
        "width": width,
        "height": height,
        "size": len(data),
        "uri": uri,
        "created_at": utcnow(),
    }
    capture = {
        "project_id": project.id,
        **arrival.model_dump(),
        "received_at": utcnow(),
        "features": features.measure(pixels),
        "descriptor": features.descriptor(pixels).astype(np.float32).tobytes(),
        "split": drawn.split,
        "audit": drawn.audit,
        "propensity": drawn.propensity,
    }
    return stored, capture


def _insert(session: Session, stored: dict[str, Any], capture: dict[str, Any]) -> None:
    insert_absent(session, Image, [stored])
    query = select(Image.id).where(Image.project_id == stored["project_id"], Image.sha256 == stored["sha256"])
    insert_absent(session, Capture, [{**capture, "image_id": session.scalar(query)}])


def _detections(here: State, served: Served, capture: Capture, pixels: Any) -> list[Detection]:
    with here.database.read() as session:
        known = stored_predictions(session, [capture.image_id], served.model_version_id)
    if known:
        return detections_of(known[capture.image_id])
    return predict(here.database, served, capture.image_id, pixels, here.settings.display_threshold)


def _answer(capture: Capture, served: Served | None, detections: list[Detection] | None, threshold: float) -> dict[str, Any]:
    shown = None if detections is None else [item.as_dict() for item in detections if item.confidence >= threshold]
    return {
        "capture": capture.id,
        "external_id": capture.external_id,
        "source": capture.source,
        "image": capture.image.sha256,
        "width": capture.image.width,
        "height": capture.image.height,
        "model_version": served.served_as if served else None,
        "detections": shown,
    }
