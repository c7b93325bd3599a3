"""Labels that are to be doubted, and why."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from labelwheel.database.tables import Capture, Label, LabelCheck, ModelVersion, QueueItem
from sync.doubts.check import REASON
from sync.doubts.doubt import in_words


def listing(session: Session, project_id: int, limit: int = 50) -> list[dict[str, Any]]:
    """Flagged labels in force, most doubtful first, JSON-ready; `second_look` is where the second look stands, None before it."""
    query = select(LabelCheck, Label, ModelVersion).join(Label, Label.id == LabelCheck.label_id)
    query = query.join(ModelVersion, ModelVersion.id == LabelCheck.model_version_id).options(joinedload(Label.image))
    query = query.where(LabelCheck.project_id == project_id, LabelCheck.flagged)
    query = query.where(Label.superseded_by.is_(None), Label.withdrawn_at.is_(None)).order_by(LabelCheck.score, LabelCheck.id)
    return [_row(session, *found) for found in session.execute(query.limit(limit)).tuples()]


def _row(session: Session, found: LabelCheck, label: Label, model: ModelVersion) -> dict[str, Any]:
    mine = (QueueItem.project_id == label.project_id, QueueItem.image_id == label.image_id)
    look = select(QueueItem.status).where(*mine, QueueItem.reason == REASON)
    source = select(Capture.source).where(Capture.image_id == label.image_id).order_by(Capture.id)
    return {
        "label": label.id,
        "image": label.image.sha256[:12],
        "source": session.scalar(source.limit(1)),
        "annotator": label.annotator,
        "annotated_at": label.annotated_at.isoformat(),
        "model": model.title,
        "score": round(found.score, 4),
        "second_look": session.scalar(look.order_by(QueueItem.round.desc()).limit(1)),
        "why": in_words(found.faults),
        "faults": found.faults,
    }
