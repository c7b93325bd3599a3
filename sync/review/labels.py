"""Labels as a person lists them: what was said of which image, by whom, and whether it counts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from labelwheel.database.tables import AnnotationRevision, Capture, Image, Label, Review
from labelwheel.errors import NotFoundError
from sync.review.states import JUDGED

STATUSES = ("approved", "waiting", "rejected", "superseded", "withdrawn")
REJECTED = "rejected"
# Of the annotation since it says so: a standing label is what its annotation says now.
JUDGED_AS = (
    select(Review.verdict)
    .where(
        Review.project_id == AnnotationRevision.project_id,
        Review.unique_id == AnnotationRevision.unique_id,
        Review.annotation_updated_at >= AnnotationRevision.updated_at,
        Review.verdict.in_(JUDGED),
    )
    .order_by(Review.id.desc())
    .limit(1)
    .correlate(AnnotationRevision)
    .scalar_subquery()
)


def listing(
    session: Session, project_id: int, limit: int = 50, status: str | None = None, annotator: str | None = None, image: str | None = None
) -> list[dict[str, Any]]:
    """Labels of a project, the newest first, as JSON-ready rows. `image` is a SHA-256 (or how it begins) or an external id."""
    query = select(Label, Image.sha256, AnnotationRevision.key, AnnotationRevision.ls_task_id, JUDGED_AS)
    query = query.join(Image, Image.id == Label.image_id)
    query = query.join(AnnotationRevision, AnnotationRevision.id == Label.annotation_revision_id).where(Label.project_id == project_id)
    if annotator:
        query = query.where(Label.annotator == annotator)
    if status:
        query = query.where(*_of_status(status))
    if image:
        named = select(Capture.image_id).where(Capture.project_id == project_id, Capture.external_id == image)
        query = query.where(Image.sha256.startswith(image.lower(), autoescape=True) | Image.id.in_(named))
    rows = session.execute(query.order_by(Label.annotated_at.desc(), Label.id.desc()).limit(limit)).tuples()
    return [_as_row(label, sha256, key, task, judged) for label, sha256, key, task, judged in rows]


def known_annotator(session: Session, project_id: int, name: str) -> None:
    """NotFoundError for a name under which nobody has drawn a label, with those under which somebody has."""
    names = list(session.scalars(select(Label.annotator).where(Label.project_id == project_id).distinct().order_by(Label.annotator)))
    if name not in names:
        told = f"Labels are of {', '.join(names[:20])}." if names else "Nobody has labelled an image yet."
        raise NotFoundError(f"No label is of {name!r}.", told)


def _status_of(label: Label, judged: str | None) -> str:
    """One of STATUSES; what is approved counts. `judged` is what was said of it last."""
    if label.withdrawn_at is not None:
        return "withdrawn"
    if label.superseded_by is not None:
        return "superseded"
    if label.approved_at is not None:
        return "approved"
    return REJECTED if judged == REJECTED else "waiting"


def _of_status(status: str) -> list[ColumnElement[bool]]:
    if status == "withdrawn":
        return [Label.withdrawn_at.is_not(None)]
    if status == "superseded":
        return [Label.withdrawn_at.is_(None), Label.superseded_by.is_not(None)]
    standing = [Label.withdrawn_at.is_(None), Label.superseded_by.is_(None)]
    if status == "approved":
        return [*standing, Label.approved_at.is_not(None)]
    rejected = func.coalesce(JUDGED_AS, "") == REJECTED
    return [*standing, Label.approved_at.is_(None), rejected if status == REJECTED else ~rejected]


def _as_row(label: Label, sha256: str, key: str, task: int, judged: str | None) -> dict[str, Any]:
    return {
        "id": label.id,
        "status": _status_of(label, judged),
        "image": sha256,
        "annotator": label.annotator,
        "annotated_at": label.annotated_at.isoformat(),
        "approved_by": label.approved_by,
        "approved_at": label.approved_at.isoformat() if label.approved_at else None,
        "boxes": label.boxes,
        "exclusions": label.exclusions,
        "key": key,
        "task": task,
    }
