"""What a person did to the boxes that were drawn beforehand: kept, moved, relabelled or deleted each, and added what was not there.

A pure function of one mirrored annotation, so that a rebuild from the mirror gives equal rows. Label Studio's editor leaves a region its
id, so who began from a pre-annotation is compared by ids. What came through the API has other ids, and is compared by place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import AnnotationRevision, Capture, Correction, Image, LsTask, QueueItem, utcnow
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.drawn import from_regions
from labelwheel.vision.geometry import Box, iou_matrix
from labelwheel.vision.label_config import ControlTag

KEPT, MOVED, RELABELLED, DELETED, ADDED = OUTCOMES = ("kept", "moved", "relabelled", "deleted", "added")
UNMOVED = 0.5  # pixels by which an edge may be off, for percent are rounded on their way
SAME_PLACE = 0.5  # IoU from which two boxes without a common id are one
SNAPSHOT = ("id", "model_version", "score", "created_at", "result")  # what is kept of a prediction


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one box. `label` and `confidence` are those of the pre-annotation, None where the box was added.

    `new_label` is the person's, None where the box was deleted. `iou`: how far the two boxes are one.
    """

    outcome: str
    label: str | None
    confidence: float | None
    new_label: str | None
    iou: float | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A box that was drawn beforehand, and how sure the model was (None: it did not say)."""

    box: LabelledBox
    confidence: float | None


def begun_from(annotation: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The prediction that an annotation began from, as Label Studio's own snapshot of it, which its lists of tasks leave out.

    Empty: nothing was drawn beforehand. None: it cannot be told, for the prediction is gone. Where no parent is named it is the newest
    that was there, one whose regions the annotation still has first.
    """
    parent = annotation.get("parent_prediction")
    if parent is not None:
        found = next((entry for entry in predictions if entry.get("id") == parent), None)
        return _snapshot(found) if found else None
    ids = {str(region["id"]) for region in _regions(annotation) if region.get("id")}
    there = [entry for entry in predictions if _before(entry, annotation)]
    return _snapshot(
        max(there, key=lambda entry: (any(str(region.get("id")) in ids for region in _regions(entry)), entry["id"]), default={})
    )


def compare(shown: Sequence[Shown], drawn: Sequence[LabelledBox], by_place: bool) -> list[Outcome]:
    """What became of each box that was shown, in their order, then the boxes that were added.

    `by_place`: boxes without a common id are one where they overlap. Boxes that no editor gave an origin are compared so in any case.
    """
    pairs = _by_id(shown, drawn)
    pairs |= _by_place(shown, drawn, pairs, by_place)
    found = [_outcome(before, drawn[pairs[number]] if number in pairs else None) for number, before in enumerate(shown)]
    added = (box for number, box in enumerate(drawn) if number not in pairs.values())
    return found + [Outcome(ADDED, None, None, box.label) for box in added]


def outcomes(body: Mapping[str, Any], tags: Sequence[ControlTag], width: int, height: int) -> list[Outcome] | None:
    """What a mirrored annotation did to the boxes of the tags that we train on; None where its beginning is not known.

    `width` and `height` are the image's, in pixels.
    """
    before = body.get("prediction")
    if before is None:
        return None
    scores = {str(region.get("id", "")): region.get("score") for region in _regions(before)}
    shown = [Shown(box, _number(scores.get(box.region_id))) for box in from_regions(_regions(before), tags, width, height)[0]]
    drawn, _ = from_regions(_regions(body), tags, width, height)
    return compare(shown, drawn, by_place=body.get("parent_prediction") is None)


def keep_corrections(session: Session, project_id: int, image_ids: Sequence[int], tags: Sequence[ControlTag]) -> None:
    """Store what each mirrored revision of these images did; what is stored already stays. Who skipped did nothing.

    A second look at a label shows a person's boxes and not a model's: it says nothing about one, and is left out.
    """
    found = [
        (row, outcomes(row.AnnotationRevision.body, tags, row.width, row.height)) for row in session.execute(_new(project_id, image_ids))
    ]
    rows = [_row(project_id, row, done) for row, done in found if done is not None]
    insert_absent(session, Correction, rows)


def _new(project_id: int, image_ids: Sequence[int]) -> Any:
    """Submitted revisions without a correction, each with its image's id and size and its capture's source."""
    query = select(AnnotationRevision, QueueItem.image_id, Capture.source, Image.width, Image.height)
    query = query.join(LsTask, (LsTask.project_id == AnnotationRevision.project_id) & (LsTask.key == AnnotationRevision.key))
    query = query.join(QueueItem, QueueItem.id == LsTask.queue_item_id).join(Image, Image.id == QueueItem.image_id)
    query = query.join(Capture, Capture.id == QueueItem.capture_id).where(
        QueueItem.project_id == project_id, QueueItem.image_id.in_(image_ids)
    )
    known = select(Correction.id).where(Correction.annotation_revision_id == AnnotationRevision.id).exists()
    mine = (AnnotationRevision.project_id == project_id, AnnotationRevision.was_cancelled.is_(False), QueueItem.reason != "label_error")
    return query.where(*mine, ~known).order_by(AnnotationRevision.id)


def _row(project_id: int, row: Any, done: Sequence[Outcome]) -> dict[str, Any]:
    revision: AnnotationRevision = row.AnnotationRevision
    return {
        "project_id": project_id,
        "annotation_revision_id": revision.id,
        "image_id": row.image_id,
        "source": row.source,
        "served_as": str(revision.body["prediction"].get("model_version") or "")[:120],
        "seconds": _number(revision.body.get("lead_time")),
        "outcomes": [asdict(outcome) for outcome in done],
        "created_at": utcnow(),
    }


def _by_id(shown: Sequence[Shown], drawn: Sequence[LabelledBox]) -> dict[int, int]:
    places = {box.region_id: number for number, box in reversed(list(enumerate(drawn))) if box.region_id}
    return {number: places.pop(before.box.region_id) for number, before in enumerate(shown) if before.box.region_id in places}


def _by_place(shown: Sequence[Shown], drawn: Sequence[LabelledBox], pairs: Mapping[int, int], everywhere: bool) -> dict[int, int]:
    """Pairs of what is left, the nearest first; of equal ones those of one label."""
    taken = set(pairs.values())
    left = [number for number in range(len(shown)) if number not in pairs]
    free = [number for number, box in enumerate(drawn) if number not in taken and (everywhere or not box.origin)]
    overlaps = iou_matrix([shown[n].box.box.as_tuple() for n in left], [drawn[n].box.as_tuple() for n in free])
    near = [(overlaps[i, j], shown[n].box.label == drawn[m].label, n, m) for i, n in enumerate(left) for j, m in enumerate(free)]
    found: dict[int, int] = {}
    for overlap, _, before, after in sorted(near, key=lambda pair: (-pair[0], not pair[1], pair[2], pair[3])):
        if overlap >= SAME_PLACE and before not in found and after not in found.values():
            found[before] = after
    return found


def _outcome(before: Shown, after: LabelledBox | None) -> Outcome:
    label = before.box.label
    if after is None:
        return Outcome(DELETED, label, before.confidence, None)
    overlap = float(iou_matrix([before.box.box.as_tuple()], [after.box.as_tuple()])[0, 0])
    what = RELABELLED if after.label != label else KEPT if _unmoved(before.box.box, after.box) else MOVED
    return Outcome(what, label, before.confidence, after.label, round(overlap, 4))


def _unmoved(one: Box, other: Box) -> bool:
    return all(abs(a - b) <= UNMOVED for a, b in zip(one.as_tuple(), other.as_tuple(), strict=True))


def _before(prediction: Mapping[str, Any], annotation: Mapping[str, Any]) -> bool:
    return datetime.fromisoformat(prediction["created_at"]) <= datetime.fromisoformat(annotation["created_at"])


def _regions(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    result = body.get("result")
    return [region for region in result if isinstance(region, Mapping)] if isinstance(result, list) else []


def _snapshot(prediction: Mapping[str, Any]) -> dict[str, Any]:
    return {name: prediction[name] for name in SNAPSHOT if name in prediction}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
