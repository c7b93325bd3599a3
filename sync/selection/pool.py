"""The pool: captures that are neither queued nor labelled, read in portions, newest first, so that its size costs no memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from labelwheel.database import Database
from labelwheel.database.tables import Capture, Image, Label, Prediction, QueueEvent, QueueItem
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.class_view import seen_as
from labelwheel.vision.detection import Detection
from sync.selection.candidate import Candidate
from sync.selection.score import Found
from sync.selection.similar import Vector

PORTION = 1000
AUDITS = 1000  # audits of one selection; the rest wait for the next
UNCHANGED = ClassMap()
EXPIRY = "expiry"  # who takes back what nobody touched


class Row(NamedTuple):
    """A capture as it is read."""

    id: int
    image_id: int
    source: str
    audit: bool
    propensity: float
    descriptor: bytes | None


@dataclass(frozen=True, slots=True)
class Seen:
    """A stored prediction: what was found, and the embedding."""

    found: tuple[Found, ...]
    embedding: Vector | None


@dataclass(frozen=True, slots=True)
class Pool:
    """The pool of a project. `deployed_at` is when the model that serves was deployed: what expired before may be chosen again.

    What the model saw is read under the names that `classes` have today.
    """

    database: Database
    project_id: int
    deployed_at: datetime | None
    model_version_id: int | None
    classes: ClassMap = UNCHANGED

    def portions(self) -> Iterator[list[Row]]:
        """All but the audits."""
        last = None
        while rows := self._read(Capture.audit.is_(False), last, PORTION):
            yield rows
            last = rows[-1].id

    def audits(self) -> list[Row]:
        return self._read(Capture.audit.is_(True), None, AUDITS)

    def size(self, *, audits: bool = True) -> tuple[int, datetime | None]:
        """How many captures there are, and when the newest arrived."""
        query = self._only_free(select(func.count(), func.max(Capture.received_at)))
        with self.database.read() as session:
            count, newest = session.execute(query if audits else query.where(Capture.audit.is_(False))).one()
        return int(count), newest

    def unlooked(self, limit: int) -> list[Image]:
        """Images that the model has not looked at: the newest."""
        looked = exists().where(Prediction.image_id == Image.id, self._by_model())
        newest = func.max(Capture.id)
        query = self._only_free(select(Image.id, newest)).where(~looked).group_by(Image.id).order_by(newest.desc()).limit(limit)
        with self.database.read() as session:
            return self._images(session, [image_id for image_id, _ in session.execute(query)])

    def blind(self, image_ids: Sequence[int], limit: int) -> list[Image]:
        """Those of these images that the model has not looked at, and could."""
        with self.database.read() as session:
            looked = set(session.scalars(select(Prediction.image_id).where(self._by_model(), Prediction.image_id.in_(image_ids))))
            return self._images(session, [image_id for image_id in image_ids if image_id not in looked][:limit])

    def candidates(self, rows: Sequence[Row], drifted: Collection[str]) -> list[Candidate]:
        """The captures with what the model saw, in one read; novelty is not measured yet."""
        with self.database.read() as session:
            seen = predictions(session, [row.image_id for row in rows], self.model_version_id, self.classes)
        return [_candidate(row, seen.get(row.image_id), row.source in drifted) for row in rows]

    def _by_model(self) -> ColumnElement[bool]:
        return Prediction.model_version_id == self.model_version_id

    def _images(self, session: Session, ids: Sequence[int]) -> list[Image]:
        found = session.scalars(select(Image).where(Image.id.in_(ids), Image.expired_at.is_(None)))
        return sorted(found, key=lambda image: ids.index(image.id))

    def _read(self, which: ColumnElement[bool], below: int | None, limit: int) -> list[Row]:
        columns = (Capture.id, Capture.image_id, Capture.source, Capture.audit, Capture.propensity, Capture.descriptor)
        query = self._only_free(select(*columns)).where(which)
        if below is not None:
            query = query.where(Capture.id < below)
        with self.database.read() as session:
            return [Row(*row) for row in session.execute(query.order_by(Capture.id.desc()).limit(limit)).tuples()]

    def _only_free(self, query: Any) -> Any:
        labelled = exists().where(Label.project_id == self.project_id, Label.image_id == Capture.image_id, Label.withdrawn_at.is_(None))
        query = query.select_from(Capture).join(Image, Image.id == Capture.image_id).where(Image.expired_at.is_(None))
        query = query.where(Capture.project_id == self.project_id, Capture.split != "quarantined")
        return query.where(~self._queued(), ~labelled)  # a label may be an import's, without a task

    def _queued(self) -> ColumnElement[bool]:
        """Whether an item of the image forbids another one: any, but for those that expired unseen under an earlier model."""
        item = aliased(QueueItem)
        by_itself = exists().where(QueueEvent.queue_item_id == item.id, QueueEvent.who == EXPIRY)
        standing = item.status != "expired"
        if self.deployed_at is not None:
            forbids: ColumnElement[bool] = or_(standing, item.created_at >= self.deployed_at, ~by_itself)
        else:
            forbids = item.id.is_not(None)
        return exists().where(item.project_id == self.project_id, item.image_id == Capture.image_id, forbids)


def predictions(session: Session, image_ids: Iterable[int], model_version_id: int | None, classes: ClassMap = UNCHANGED) -> dict[int, Seen]:
    """What a model saw on these images, by image id; labels as `classes` have them today."""
    wanted = list(dict.fromkeys(image_ids))
    columns = (Prediction.image_id, Prediction.detections, Prediction.embedding)
    query = select(*columns).where(Prediction.image_id.in_(wanted), Prediction.model_version_id == model_version_id)
    rows = session.execute(query).tuples() if wanted and model_version_id is not None else ()
    return {image_id: Seen(found_of(detections, classes), vector_of(embedding, np.float16)) for image_id, detections, embedding in rows}


def found_of(detections: Iterable[Any], classes: ClassMap = UNCHANGED) -> tuple[Found, ...]:
    """Stored boxes as choosing wants them, under today's names; those that a person drew have a confidence of 1."""
    if classes.changed:
        told = [Detection.from_dict({"confidence": 1.0, **item}) for item in detections]
        detections = [item.as_dict() for item in seen_as(told, classes)]
    return tuple(Found(item["label"], float(item.get("confidence", 1.0)), _corners(item["box"])) for item in detections)


def _corners(box: Sequence[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = map(float, box)
    return x1, y1, x2, y2


def vector_of(stored: bytes | None, kind: type[np.floating[Any]] = np.float32) -> Vector | None:
    """A stored vector as float32, in the precision of float16: a decision keeps many."""
    return None if stored is None else np.frombuffer(stored, dtype=kind).astype(np.float16).astype(np.float32)


def _candidate(row: Row, seen: Seen | None, drifted: bool) -> Candidate:
    found, embedding = (None, None) if seen is None else (seen.found, seen.embedding)
    descriptor = vector_of(row.descriptor)
    return Candidate(row.id, row.image_id, row.source, row.audit, found, descriptor, embedding, drifted, None, row.propensity)
