"""What was inspected: captures, the newest first, each with what the champion saw on it last, how unsure that is, and where it is queued.

Paged along the index of `captured_at`. Detections are JSON, which no index looks into: a page of the uncertain ones looks at so many
captures at most, and says where to go on; it may hold fewer than were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session, defer, joinedload

from labelwheel.database.tables import DEFAULT_TAG, Capture, Deployment, ModelVersion, Prediction, Project, QueueItem
from labelwheel.errors import InputError
from labelwheel.project import current_classes
from labelwheel.serving import detections_of
from labelwheel.settings import Settings
from labelwheel.shares import read_shares
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.class_view import seen_as
from labelwheel.vision.detection import Detection
from labelwheel.vision.label_config import CHAMPION
from sync.selection.pool import found_of
from sync.selection.rules import RANDOM
from sync.selection.score import Scale, uncertainty

Json = dict[str, Any]

PORTION = 500
MOST = 5000  # captures that one page of uncertain ones looks at: some tenths of a second


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which captures: `since` ≤ captured_at < `until`; `after` is the `next` of the page before. `uncertain`: a detection is in the band."""

    limit: int = 50
    uncertain: bool = False
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: str | None = None


class Place(NamedTuple):
    """Where a capture stands in the order of pages."""

    captured_at: datetime
    id: int
    image_id: int

    @property
    def cursor(self) -> str:
        """Where the page after it begins."""
        return f"{self.captured_at.isoformat()}_{self.id}"


@dataclass(frozen=True, slots=True)
class Sight:
    """A capture, the prediction of its image, and its queue item, as far as there are."""

    capture: Capture
    prediction: Prediction | None
    model: str | None
    item: QueueItem | None
    classes: ClassMap

    @property
    def detections(self) -> list[Detection]:
        return seen_as(detections_of(self.prediction), self.classes) if self.prediction else []


def inspections(session: Session, project: Project, settings: Settings, wanted: Wanted) -> Json:
    """A page: `items`, and `next` (null at the end). Raises InputError for an `after` that no page gave."""
    served = _served(session, project.id)
    found, after = _choose(session, project.id, settings, wanted, served)
    return {"items": [_row(sight, settings) for sight in _sights(session, project.id, found, served)], "next": after}


def _choose(session: Session, project_id: int, settings: Settings, wanted: Wanted, served: Sequence[int]) -> tuple[list[Place], str | None]:
    """The captures of a page, and where the next one begins."""
    found: list[Place] = []
    after, looked = wanted.after, 0
    size = PORTION if wanted.uncertain else wanted.limit
    while len(found) < wanted.limit and looked < MOST:
        places = [Place(*row) for row in session.execute(_query(project_id, wanted, after).limit(size)).tuples()]
        found += _unsure(session, settings, places, served) if wanted.uncertain else places
        looked += len(places)
        after = places[-1].cursor if len(places) == size else None
        if after is None:
            break
    rest = len(found) > wanted.limit or (len(found) == wanted.limit and after is not None)
    found = found[: wanted.limit]
    return found, found[-1].cursor if rest else after


def _unsure(session: Session, settings: Settings, places: Sequence[Place], served: Sequence[int]) -> list[Place]:
    """Those of whose images the model is unsure: a detection lies inside the band."""
    columns = select(Prediction.image_id, Prediction.detections).where(Prediction.model_version_id.in_(served))
    rows = session.execute(columns.where(Prediction.image_id.in_({place.image_id for place in places})).order_by(Prediction.id)).tuples()
    newest: dict[int, list[Any]] = dict(rows.all())
    low, high = settings.confidence_low, settings.confidence_high
    return [place for place in places if any(low <= box["confidence"] <= high for box in newest.get(place.image_id, ()))]


def doubt(prediction: Prediction, settings: Settings) -> dict[str, float]:
    """How many detections lie in the band, and the image's uncertainty (0–1) by the measure that the selection ranks by."""
    measure = "expected_errors" if settings.uncertainty == RANDOM else settings.uncertainty
    scale = Scale(settings.confidence_low, settings.confidence_high, read_shares(settings.class_weights))
    found = found_of(prediction.detections)
    return {"in_band": sum(map(scale.holds, found)), "score": round(uncertainty(found, measure, scale), 4)}


def read_cursor(cursor: str) -> tuple[datetime, int]:
    """Where a page begins: the inverse of a place's `cursor`. Raises InputError for what no page gave."""
    moment, _, number = cursor.partition("_")
    try:
        found = datetime.fromisoformat(moment), int(number)
        if found[0].tzinfo is None or not 0 <= found[1] < 2**31:
            raise ValueError(cursor)
        return found[0].astimezone(UTC), found[1]
    except (ValueError, OverflowError) as error:
        raise InputError(f"{cursor[:40]!r} is no cursor.", "Give `next` of the page before.") from error


def _query(project_id: int, wanted: Wanted, after: str | None) -> Select[datetime, int, int]:
    query = select(Capture.captured_at, Capture.id, Capture.image_id).where(Capture.project_id == project_id)
    if wanted.source is not None:
        query = query.where(Capture.source == wanted.source)
    if wanted.since is not None:
        query = query.where(Capture.captured_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(Capture.captured_at < wanted.until)
    if after is not None:
        query = query.where(tuple_(Capture.captured_at, Capture.id) < read_cursor(after))
    return query.order_by(Capture.captured_at.desc(), Capture.id.desc())


def _served(session: Session, project_id: int) -> list[int]:
    """Every model version that was ever the champion."""
    mine = select(Deployment.model_version_id).where(Deployment.project_id == project_id, Deployment.tag == DEFAULT_TAG)
    return list(session.scalars(mine.where(Deployment.role == CHAMPION.alias).distinct()))


def _sights(session: Session, project_id: int, places: Sequence[Place], served: Sequence[int]) -> list[Sight]:
    images, ids = {place.image_id for place in places}, [place.id for place in places]
    looks = select(Prediction).where(Prediction.image_id.in_(images), Prediction.model_version_id.in_(served)).order_by(Prediction.id)
    predictions = {row.image_id: row for row in session.scalars(looks.options(defer(Prediction.embedding)))}
    queued = select(QueueItem).where(QueueItem.project_id == project_id, QueueItem.image_id.in_(images)).order_by(QueueItem.round)
    items = {row.image_id: row for row in session.scalars(queued)}
    models = {row.id: row.title for row in session.scalars(select(ModelVersion).where(ModelVersion.id.in_(served)))}
    rows = session.scalars(select(Capture).where(Capture.id.in_(ids)).options(joinedload(Capture.image), defer(Capture.descriptor)))
    captures = {row.id: row for row in rows}
    classes = current_classes(session, project_id)
    return [_sight(captures[place.id], predictions.get(place.image_id), models, items.get(place.image_id), classes) for place in places]


def _sight(capture: Capture, prediction: Prediction | None, models: dict[int, str], item: QueueItem | None, classes: ClassMap) -> Sight:
    return Sight(capture, prediction, models[prediction.model_version_id] if prediction else None, item, classes)


def _row(sight: Sight, settings: Settings) -> Json:
    capture, seen = sight.capture, sight.detections
    shown = min(settings.display_threshold, settings.confidence_low)
    return {
        "id": capture.id,
        "external_id": capture.external_id,
        "source": capture.source,
        "captured_at": capture.captured_at.isoformat(),
        "received_at": capture.received_at.isoformat(),
        "image": capture.image.sha256,
        "width": capture.image.width,
        "height": capture.image.height,
        "audit": capture.audit,
        "model_version": sight.model,
        "detections": [detection.as_dict() for detection in seen if detection.confidence >= shown] if sight.prediction else None,
        "uncertainty": doubt(sight.prediction, settings) if sight.prediction else None,
        "queue": {"id": sight.item.id, "status": sight.item.status, "reason": sight.item.reason} if sight.item else None,
    }
