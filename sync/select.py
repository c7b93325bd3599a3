"""Selection: look at the pool, let the model look where it has not, choose, and store each choice with its reasons."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

import numpy as np
import structlog
from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, contains_eager

from labelwheel import queue
from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import Capture, Decision, Image, Label, Project, QueueEvent, QueueItem, utcnow
from labelwheel.errors import LabelwheelError
from labelwheel.project import current_project
from labelwheel.serving import Served, detections_of, load, newest_deployment, predict_stored, stored_predictions
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from sync.choose import Candidate, Choice, Rules, choose, choose_first

log = structlog.get_logger(__name__)

POOL_LIMIT = 2000  # captures looked at in one selection; the rest wait for the next tick
DAY = timedelta(days=1)


def select_captures(database: Database, settings: Settings, now: datetime) -> int:
    """Put what a person shall look at into the queue; return how many items that were."""
    with database.read() as session:
        project = current_project(session, settings)
        deployment = newest_deployment(session, project.id)
        pool = _pool(session, project.id)
        spent = _spent(session, project.id, now)
        served = load(deployment, settings) if deployment and pool else None
    if not pool or (served is None and not _settled(pool, settings, now)):
        return 0
    if served is None:
        choices = choose_first([_candidate(capture) for capture in pool], max(settings.first_batch - spent["novelty"], 0), _seed(project))
    else:
        rules = Rules(settings.confidence_low, settings.confidence_high, max(settings.budget_per_day - spent["day"], 0))
        choices = choose(_looked_at(database, served, pool, settings), rules)
    added = _store(database, project.id, choices, settings, served)
    if added:
        log.info("captures selected", pool=len(pool), chosen=added, model=served.served_as if served else None)
        queue.ring("sync.push")
    return added


def _pool(session: Session, project_id: int) -> list[Capture]:
    queued = exists().where(QueueItem.project_id == Capture.project_id, QueueItem.image_id == Capture.image_id)
    labelled = exists().where(Label.image_id == Capture.image_id, Label.withdrawn_at.is_(None))  # by an import, without a task
    query = select(Capture).join(Image, Image.id == Capture.image_id).where(Image.expired_at.is_(None), ~queued)
    query = query.where(Capture.project_id == project_id, Capture.split != "quarantined", ~labelled)
    # Newest first: what a camera sees now matters more than a backlog.
    return list(
        session.scalars(query.options(contains_eager(Capture.image)).order_by(Capture.audit.desc(), Capture.id.desc()).limit(POOL_LIMIT))
    )


def _spent(session: Session, project_id: int, now: datetime) -> dict[str, int]:
    mine = select(func.count()).select_from(QueueItem).where(QueueItem.project_id == project_id)
    return {
        "day": session.scalar(mine.where(QueueItem.reason == "low_confidence", QueueItem.created_at > now - DAY)) or 0,
        "novelty": session.scalar(mine.where(QueueItem.reason == "novelty")) or 0,
    }


def _settled(pool: Sequence[Capture], settings: Settings, now: datetime) -> bool:
    """A batch can only be diverse over a pool that has arrived: wait while captures still stream in."""
    quiet = now - max(capture.received_at for capture in pool) >= timedelta(seconds=settings.settle_seconds)
    return quiet or len(pool) >= 4 * settings.first_batch


def _seed(project: Project) -> int:
    return zlib.crc32(project.salt.encode())


def _candidate(capture: Capture, confidences: tuple[float, ...] | None = None) -> Candidate:
    vector = np.frombuffer(capture.descriptor, dtype=np.float32) if capture.descriptor else None
    descriptor = tuple(float(value) for value in vector) if vector is not None else None
    return Candidate(capture.id, capture.image_id, capture.source, capture.audit, confidences, descriptor)


def _looked_at(database: Database, served: Served, pool: Sequence[Capture], settings: Settings) -> list[Candidate]:
    with database.read() as session:
        known = stored_predictions(session, [capture.image_id for capture in pool], served.model_version_id)
    store = ImageStore(settings.images_dir)
    candidates = []
    for capture in pool:
        try:
            stored = known.get(capture.image_id)
            found = detections_of(stored) if stored else predict_stored(database, served, capture.image, store, settings)
        except LabelwheelError as error:  # one bad image never stops a selection
            log.warning("capture not looked at", capture=capture.external_id, error=error.message)
            continue
        candidates.append(_candidate(capture, tuple(item.confidence for item in found)))
    return candidates


def _store(database: Database, project_id: int, choices: Sequence[Choice], settings: Settings, served: Served | None) -> int:
    if not choices:
        return 0
    with database.write() as session:
        choices = _still_there(session, choices)
        if not choices:
            return 0
        decision = _decision(project_id, choices, settings, served)
        session.add(decision)
        session.flush()
        rows = [_row(project_id, choice, decision.id) for choice in choices]
        insert_absent(session, QueueItem, rows)
        added = list(session.scalars(select(QueueItem).where(QueueItem.decision_id == decision.id)))
        session.add_all(QueueEvent(queue_item_id=item.id, status="pending", who="selection", why=item.reason) for item in added)
    return len(added)


def _still_there(session: Session, choices: Sequence[Choice]) -> list[Choice]:
    """Choices whose image did not expire since the pool was read. The rows are locked: a retention that judges them now waits."""
    ids = [choice.candidate.image_id for choice in choices]
    stored = select(Image.id).where(Image.id.in_(ids), Image.expired_at.is_(None)).order_by(Image.id).with_for_update()
    there = set(session.scalars(stored))
    return [choice for choice in choices if choice.candidate.image_id in there]


def _row(project_id: int, choice: Choice, decision_id: int) -> dict[str, object]:
    now = utcnow()
    return {
        "project_id": project_id,
        "image_id": choice.candidate.image_id,
        "capture_id": choice.candidate.capture_id,
        "round": 1,
        "status": "pending",
        "reason": choice.reason,
        "priority": choice.priority,
        "scores": choice.scores,
        "decision_id": decision_id,
        "created_at": now,
        "updated_at": now,
    }


def _decision(project_id: int, choices: Sequence[Choice], settings: Settings, served: Served | None) -> Decision:
    by_reason: dict[str, int] = {}
    for choice in choices:
        by_reason[choice.reason] = by_reason.get(choice.reason, 0) + 1
    rules = asdict(Rules(settings.confidence_low, settings.confidence_high, settings.budget_per_day))
    reasons = [{"code": reason, "text": f"{count} captures chosen for {reason}"} for reason, count in sorted(by_reason.items())]
    return Decision(
        project_id=project_id,
        kind="selection",
        verdict=f"{len(choices)} chosen",
        reasons=reasons,
        inputs={"rules": rules, "model_version": served.served_as if served else None, "first_batch": settings.first_batch},
    )
