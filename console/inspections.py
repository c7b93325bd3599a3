"""What was inspected: captures, the newest first, each with what the champion saw on it last, how unsure that is, and where it is queued.

Paged along the index of `captured_at`. Detections are JSON, which no index looks into: a page of the uncertain ones looks at so many
captures at most, and says where to go on; it may hold fewer than were asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session, contains_eager, defer

from labelwheel.database.tables import Capture, Deployment, Image, ModelVersion, Prediction, Project, QueueItem
from labelwheel.errors import InputError
from labelwheel.serving import DEFAULT_TAG, detections_of
from labelwheel.settings import Settings
from labelwheel.shares import read_shares
from labelwheel.vision.detection import Detection
from labelwheel.vision.label_config import CHAMPION
from sync.pool import found_of
from sync.rules import RANDOM
from sync.score import Scale, uncertainty

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


@dataclass(frozen=True, slots=True)
class Sight:
    """A capture, the prediction of its image, and its queue item, as far as there are."""

    capture: Capture
    prediction: Prediction | None
    model: str | None
    item: QueueItem | None

    @property
    def detections(self) -> list[Detection]:
        return detections_of(self.prediction) if self.prediction else []


def inspections(session: Session, project: Project, settings: Settings, wanted: Wanted) -> Json:
    """A page: `items`, and `next` (null at the end). Raises InputError for an `after` that no page gave."""
    found: list[Sight] = []
    after, looked = wanted.after, 0
    size = PORTION if wanted.uncertain else wanted.limit
    while len(found) < wanted.limit and looked < MOST:
        captures = list(session.scalars(_query(project.id, wanted, after).limit(size)))
        sights = [sight for sight in _sights(session, project.id, captures) if not wanted.uncertain or in_band(sight.detections, settings)]
        found += sights
        looked += len(captures)
        if len(captures) < size:
            after = None
            break
        after = cursor_of(captures[-1])
    if len(found) > wanted.limit or (len(found) == wanted.limit and after):
        found = found[: wanted.limit]
        after = cursor_of(found[-1].capture)
    return {"items": [_row(sight, settings) for sight in found], "next": after}


def in_band(detections: Iterable[Detection], settings: Settings) -> bool:
    """Whether the model is unsure of something: a detection lies inside the uncertainty band."""
    return any(settings.confidence_low <= detection.confidence <= settings.confidence_high for detection in detections)


def doubt(prediction: Prediction, settings: Settings) -> dict[str, float]:
    """How many detections lie in the band, and the image's uncertainty (0–1) by the measure that the selection ranks by."""
    measure = "expected_errors" if settings.uncertainty == RANDOM else settings.uncertainty
    scale = Scale(settings.confidence_low, settings.confidence_high, read_shares(settings.class_weights))
    found = found_of(prediction.detections)
    return {"in_band": sum(map(scale.holds, found)), "score": round(uncertainty(found, measure, scale), 4)}


def cursor_of(capture: Capture) -> str:
    """Where the page after this capture begins."""
    return f"{capture.captured_at.isoformat()}_{capture.id}"


def read_cursor(cursor: str) -> tuple[datetime, int]:
    """Inverse of `cursor_of`. Raises InputError for what no page gave."""
    moment, _, number = cursor.partition("_")
    try:
        found = datetime.fromisoformat(moment), int(number)
        if found[0].tzinfo is None or not 0 <= found[1] < 2**31:
            raise ValueError(cursor)
        return found[0].astimezone(UTC), found[1]
    except (ValueError, OverflowError) as error:
        raise InputError(f"{cursor[:40]!r} is no cursor.", "Give `next` of the page before.") from error


def _query(project_id: int, wanted: Wanted, after: str | None) -> Select[Capture]:
    query = select(Capture).where(Capture.project_id == project_id).join(Image, Image.id == Capture.image_id)
    if wanted.source is not None:
        query = query.where(Capture.source == wanted.source)
    if wanted.since is not None:
        query = query.where(Capture.captured_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(Capture.captured_at < wanted.until)
    if after is not None:
        query = query.where(tuple_(Capture.captured_at, Capture.id) < read_cursor(after))
    return query.options(contains_eager(Capture.image), defer(Capture.descriptor)).order_by(Capture.captured_at.desc(), Capture.id.desc())


def _sights(session: Session, project_id: int, captures: Sequence[Capture]) -> list[Sight]:
    images = list({capture.image_id for capture in captures})
    served = select(Deployment.model_version_id).where(
        Deployment.project_id == project_id, Deployment.tag == DEFAULT_TAG, Deployment.role == CHAMPION.alias
    )
    looks = select(Prediction).where(Prediction.image_id.in_(images), Prediction.model_version_id.in_(served)).order_by(Prediction.id)
    predictions = {row.image_id: row for row in session.scalars(looks.options(defer(Prediction.embedding)))}
    queued = select(QueueItem).where(QueueItem.project_id == project_id, QueueItem.image_id.in_(images)).order_by(QueueItem.round)
    items = {row.image_id: row for row in session.scalars(queued)}
    models = {row.id: row.title for row in session.scalars(select(ModelVersion).where(ModelVersion.project_id == project_id))}
    return [_sight(capture, predictions.get(capture.image_id), models, items.get(capture.image_id)) for capture in captures]


def _sight(capture: Capture, prediction: Prediction | None, models: dict[int, str], item: QueueItem | None) -> Sight:
    return Sight(capture, prediction, models[prediction.model_version_id] if prediction else None, item)


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
