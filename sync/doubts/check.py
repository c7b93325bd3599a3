"""Look at new labels with a model that was not trained on them, and send the most doubtful to people once more.

A second look is a new round of the image, with the label's own boxes drawn and with the reason in words. An image gets one, ever: what a
person confirmed is not doubted again. Labels that datasets brought are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased, joinedload

from labelwheel import queue
from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import (
    IMPORTED,
    OPEN_STATUSES,
    AnnotationRevision,
    Label,
    LabelCheck,
    Project,
    QueueItem,
    utcnow,
)
from labelwheel.lease import hold
from labelwheel.project import current_classes, current_project
from labelwheel.serving import Served, load, newest_deployment, predict_all
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision.class_view import drawn_as, shown_under
from labelwheel.vision.detection import Detection
from labelwheel.vision.label_config import ControlTag, parse, trained_tags
from sync.doubts.compare import View, compare
from sync.doubts.doubt import Doubt, doubt_each, in_words
from sync.doubts.unseen import boxes_of, seen_images, shown_as, unseen_labels
from sync.review.settle import open_round

log = structlog.get_logger(__name__)

REASON = "label_error"
MOST = 500  # labels in one run; the rest wait for the next
EXPERIENCE = 500  # labels that say what the model's disagreements mean
DAY = timedelta(days=1)


def check(database: Database, settings: Settings, now: datetime) -> int:
    """Check what was not checked yet; return how many second looks were asked for."""
    with database.read() as session:
        project = current_project(session, settings)
        deployment = newest_deployment(session, project.id)
        due = due_labels(session, project.id, deployment.model_version_id) if deployment else []
        classes = current_classes(session, project.id)
    with hold(database, f"check:{project.id}") as lease:
        if lease is None:
            return 0
        if deployment and due:
            _check(database, settings, project, load(deployment, settings, classes), due)
        with database.write() as session:
            asked = ask_again(session, project.id, settings.second_looks_per_day, now)
    if asked:
        log.info("labels doubted", second_looks=asked)
        queue.ring("sync.push")
    return asked


def due_labels(session: Session, project_id: int, model_version_id: int) -> list[int]:
    """Ids of labels in force that no model has checked, and that this one was not trained on; at most `MOST`."""
    checked = select(LabelCheck.id).where(LabelCheck.label_id == Label.id).exists()
    query = select(Label.id, Label.image_id).join(AnnotationRevision, AnnotationRevision.id == Label.annotation_revision_id)
    query = query.where(*_in_force(project_id), ~checked, ~AnnotationRevision.unique_id.startswith(IMPORTED))
    rows = session.execute(query.order_by(Label.id)).tuples().all()
    seen = seen_images(session, model_version_id) if rows else set()
    return [label_id for label_id, image_id in rows if image_id not in seen][:MOST]


def ask_again(session: Session, project_id: int, per_day: int, now: datetime) -> int:
    """Put the most doubtful of the flagged labels into the queue, as far as the day's number goes; return how many."""
    mine = (QueueItem.project_id == project_id, QueueItem.reason == REASON)
    spent = session.scalar(select(func.count()).where(*mine, QueueItem.created_at > now - DAY)) or 0
    asked = [_ask(session, found, label) for found, label in _flagged(session, project_id, max(per_day - spent, 0))]
    return sum(asked)


def _check(database: Database, settings: Settings, project: Project, served: Served, due: Sequence[int]) -> None:
    tags = shown_under(trained_tags(parse(project.label_config)), served.classes)
    labels, known = _read(database, project.id, served, tags, due)
    views = _views(database, settings, served, labels, tags)
    judged = doubt_each({label.id: view for label, view in views}, known)
    rows = [_row(label, served.model_version_id, judged[label.id], settings.doubt_below) for label, _ in views]
    with database.write() as session:
        insert_absent(session, LabelCheck, rows)


def _read(
    database: Database, project_id: int, served: Served, tags: Sequence[ControlTag], due: Sequence[int]
) -> tuple[list[Label], dict[int, View]]:
    """The labels that are due, and the views of those, by their ids, that say what the model's disagreements mean."""
    with database.read() as session:
        labels = list(session.scalars(select(Label).where(Label.id.in_(due)).options(joinedload(Label.image)).order_by(Label.id)))
        known = unseen_labels(session, project_id, served.model_version_id, tags, served.classes, EXPERIENCE)
    return labels, {label.id: _compare(label, found, served) for label, found in known}


def _views(
    database: Database, settings: Settings, served: Served, labels: Sequence[Label], tags: Sequence[ControlTag]
) -> list[tuple[Label, View]]:
    """Label and model side by side; an image that cannot be looked at is left out."""
    images = list({label.image_id: label.image for label in labels}.values())
    seen = predict_all(database, served, images, ImageStore(settings.images_dir), settings)
    return [(label, _compare(label, shown_as(seen[label.image_id], tags), served)) for label in labels if label.image_id in seen]


def _compare(label: Label, found: Sequence[Detection], served: Served) -> View:
    """Both under today's names: a class that is only called otherwise is no doubt."""
    return compare(drawn_as(boxes_of(label), served.classes), served.seen(found))


def _row(label: Label, model_version_id: int, seen: Doubt, below: float) -> dict[str, Any]:
    return {
        "project_id": label.project_id,
        "label_id": label.id,
        "model_version_id": model_version_id,
        "score": seen.score,
        "flagged": seen.score < below,
        "faults": [asdict(fault) for fault in seen.faults],
        "created_at": utcnow(),
    }


def _flagged(session: Session, project_id: int, limit: int) -> list[tuple[LabelCheck, Label]]:
    """Approved labels whose image has no second look and waits for nobody, most doubtful first."""
    other = aliased(QueueItem)
    same = (other.project_id == Label.project_id, other.image_id == Label.image_id)
    waits = select(other.id).where(*same, (other.reason == REASON) | other.status.in_(OPEN_STATUSES)).exists()
    query = select(LabelCheck, Label).join(Label, Label.id == LabelCheck.label_id)
    query = query.where(*_in_force(project_id), Label.approved_at.is_not(None), LabelCheck.flagged, ~waits)
    return list(session.execute(query.order_by(LabelCheck.score, LabelCheck.id).limit(limit)).tuples().all())


def _ask(session: Session, found: LabelCheck, label: Label) -> bool:
    mine = (QueueItem.project_id == label.project_id, QueueItem.image_id == label.image_id)
    newest = select(QueueItem).where(*mine).order_by(QueueItem.round.desc()).limit(1)
    why = in_words(found.faults)
    scores = {"label": label.id, "score": found.score, "why": why, "faults": found.faults}
    return open_round(session, session.scalars(newest).one(), REASON, round(1 - found.score, 4), "label check", why[:500], scores)


def _in_force(project_id: int) -> tuple[Any, ...]:
    return Label.project_id == project_id, Label.superseded_by.is_(None), Label.withdrawn_at.is_(None)
