"""The camera's door: `POST /inspect` stores a capture, and answers what the champion sees on it.

Idempotent by external id: the same bytes are answered the same again, other bytes under a known id are a conflict. Who comes again
with many images asks `POST /inspect/known` first, and sends only those that are missing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from flask import Blueprint, request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator
from sqlalchemy import select

from labelwheel.database.tables import Capture, Image
from labelwheel.errors import InputError
from labelwheel.serving import Served, predict, stored_predictions
from labelwheel.vision.detection import Detection
from labelwheel.wording import faults
from ml_backend.auth import by_token
from ml_backend.keep import Picture, keep
from ml_backend.state import State, state

blueprint = Blueprint("inspect", __name__)

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"  # PostgreSQL stores no NUL, and no page shows a control character
ASK_MOST = 500

ExternalId = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE, strip_whitespace=True)]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Kind = TypeVar("Kind", bound=BaseModel)


class Arrival(BaseModel):
    """What a camera says of an image."""

    model_config = ConfigDict(str_strip_whitespace=True)

    source: str = Field(min_length=1, max_length=100, pattern=PRINTABLE)
    external_id: ExternalId
    captured_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @field_validator("captured_at")
    @classmethod
    def _has_zone(cls, value: datetime) -> datetime:
        try:
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        except OverflowError as error:  # pydantic takes ValueError alone for a fault of the caller
            raise ValueError("out of range") from error


class Question(BaseModel):
    """Which of these are known: SHA-256 of the bytes by external id."""

    captures: dict[ExternalId, Sha256] = Field(max_length=ASK_MOST)


@blueprint.post("/inspect")
@by_token
def inspect() -> tuple[dict[str, Any], int]:
    """Form fields `source`, `external_id`, `captured_at` and the file `image`; answers detections in pixels of the upright image."""
    given = {name: value for name, value in request.form.items() if value}
    arrival = _read(Arrival, given, "Send form fields source, external_id and captured_at (ISO 8601).")
    here, data = state(), _uploaded()
    project = here.project()
    picture = Picture(data, here.settings.max_image_bytes, here.settings.max_image_pixels)
    capture, fresh = keep(here, project, arrival.model_dump(), picture)
    line_up = here.line_up(project.id)
    served = line_up.champion if line_up else None
    detections = _detections(here, served, capture, picture) if served else None
    return _answer(capture, served, detections, here.settings.display_threshold), 201 if fresh else 200


@blueprint.post("/inspect/known")
@by_token
def known() -> dict[str, list[str]]:
    """`{"captures": {external id: SHA-256}}`, at most 500: which ids are `known` with these bytes, and which with `other` bytes."""
    asked = _read(Question, request.get_json(silent=True), "Send a JSON object `captures` of external ids with their SHA-256.").captures
    query = select(Capture.external_id, Image.sha256).join(Image, Image.id == Capture.image_id)
    project = state().project()
    with state().database.read() as session:
        rows = session.execute(query.where(Capture.project_id == project.id, Capture.external_id.in_(asked))).tuples()
        found = dict(rows.all())
    return {
        "known": sorted(name for name, sha256 in found.items() if asked[name] == sha256),
        "other": sorted(name for name, sha256 in found.items() if asked[name] != sha256),
    }


def _read(kind: type[Kind], given: Any, cure: str) -> Kind:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        name = kind.__name__.lower()
        found = faults(error, lambda place: ".".join(map(str, place)) or f"the {name}")
        raise InputError(f"The {name} cannot be used: {found}.", cure) from error


def _uploaded() -> bytes:
    file = request.files.get("image")
    if file is None:
        raise InputError(
            "There is no file `image` in the request.", "Send multipart/form-data with the image's bytes in the file field `image`."
        )
    data: bytes = file.read()
    return data


def _detections(here: State, served: Served, capture: Capture, picture: Picture) -> list[Detection]:
    """What is stored; of two that looked at once, both answer what the first one stored."""
    stored = _stored(here, served, capture)
    if stored is None:
        seen = predict(here.database, served, capture.image_id, picture.pixels, here.settings.display_threshold)
        stored = _stored(here, served, capture) or seen
    return stored


def _stored(here: State, served: Served, capture: Capture) -> list[Detection] | None:
    with here.database.read() as session:
        known = stored_predictions(session, [capture.image_id], served.model_version_id)
    return served.stored(known[capture.image_id]) if known else None


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
