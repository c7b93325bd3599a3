"""What a person is shown who looks at a doubtful label once more: the annotation itself, as it was drawn."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import AnnotationRevision, Image, Label


def drawn_again(session: Session, image_id: int, served_as: str) -> dict[str, Any] | None:
    """The annotation of the image's label in force, as a prediction; None when there is no such label any more.

    It bears the version that Label Studio shows: under another one the label stream would start empty, and the ML backend be asked.
    """
    query = select(AnnotationRevision.body).join(Label, Label.annotation_revision_id == AnnotationRevision.id)
    project_id = select(Image.project_id).where(Image.id == image_id).scalar_subquery()
    query = query.where(Label.project_id == project_id, Label.image_id == image_id, Label.approved_at.is_not(None))
    query = query.where(Label.superseded_by.is_(None), Label.withdrawn_at.is_(None))
    body = session.scalar(query.order_by(Label.approved_at.desc(), Label.id.desc()).limit(1))
    return None if body is None else {"model_version": served_as, "result": [_as_predicted(region) for region in body.get("result") or []]}


def _as_predicted(region: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in region.items() if name not in ("origin", "score")}
