"""Which labels count: approved, standing, newest of their image; which of them a finished run has used; which split they are in."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import IMPORTED, AnnotationRevision, Capture, DatasetItem, Label, TrainingRun

FINISHED = ("promoted", "kept_champion")
TRAINED_ON = ("train", "replay")


def approved(session: Session, project_id: int) -> dict[int, int]:
    """Image id → id of its newest label that is approved, not superseded and not withdrawn."""
    query = select(Label.image_id, Label.id).where(
        Label.project_id == project_id, Label.approved_at.is_not(None), Label.superseded_by.is_(None), Label.withdrawn_at.is_(None)
    )
    return dict(session.execute(query.order_by(Label.approved_at, Label.id)).tuples().all())


def consumed(session: Session, project_id: int, before_run: int | None = None) -> set[int]:
    """Ids of the labels that weights have seen: a finished run was trained on them, or they were brought with a dataset.

    `before_run` looks only at runs before that one.
    """
    query = select(DatasetItem.label_id).join(TrainingRun, TrainingRun.dataset_id == DatasetItem.dataset_id)
    query = query.where(TrainingRun.project_id == project_id, TrainingRun.status.in_(FINISHED), DatasetItem.split.in_(TRAINED_ON))
    if before_run is not None:
        query = query.where(TrainingRun.id < before_run)
    return set(session.scalars(query.distinct())) | brought(session, project_id)


def brought(session: Session, project_id: int) -> set[int]:
    """Ids of the labels that came with a dataset and were not asked to count as new."""
    query = select(Label.id).join(AnnotationRevision, AnnotationRevision.id == Label.annotation_revision_id)
    came = AnnotationRevision.unique_id.startswith(IMPORTED)
    return set(
        session.scalars(query.where(Label.project_id == project_id, came, AnnotationRevision.body["as_new"].as_boolean().is_(False)))
    )


def splits(session: Session, project_id: int) -> dict[int, str]:
    """Image id → train, holdout or quarantined."""
    query = select(Capture.image_id, Capture.split).where(Capture.project_id == project_id).distinct()
    found: dict[int, set[str]] = {}
    for image_id, split in session.execute(query).tuples():
        found.setdefault(image_id, set()).add(split)
    return {image_id: split_of(names) for image_id, names in found.items()}


def split_of(splits_of_captures: Iterable[str]) -> str:
    """The one split of an image that arrived several times: what is doubtful neither trains nor judges, what judges never trains."""
    names = set(splits_of_captures)
    return next((split for split in ("quarantined", "holdout", "train") if split in names), "quarantined")
