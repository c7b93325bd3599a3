"""Which labels count: approved, standing, newest of their image; which of them a finished run has used; which split they are in."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import IMPORTED, AnnotationRevision, Capture, DatasetItem, Label, TrainingRun
from labelwheel.project import current_classes
from labelwheel.vision.class_map import ClassMap

ROWS = 500  # older SQLite takes 999 variables in one statement
FINISHED = ("promoted", "kept_champion")
TRAINED_ON = ("train", "replay")


def approved(session: Session, project_id: int) -> dict[int, int]:
    """Image id → id of its newest label that is approved, not superseded and not withdrawn."""
    query = select(Label.image_id, Label.id).where(
        Label.project_id == project_id, Label.approved_at.is_not(None), Label.superseded_by.is_(None), Label.withdrawn_at.is_(None)
    )
    return dict(session.execute(query.order_by(Label.approved_at, Label.id)).tuples().all())


def usable(session: Session, project_id: int) -> dict[int, int]:
    """`approved`, without those on which only boxes of removed classes are: no training will ever use them."""
    standing = approved(session, project_id)
    gone = emptied(session, standing.values(), current_classes(session, project_id))
    return {image_id: label_id for image_id, label_id in standing.items() if label_id not in gone}


def emptied(session: Session, label_ids: Iterable[int], classes: ClassMap) -> set[int]:
    """Which of these labels hold boxes, and none of a class in use."""
    if not any(classes.read(name) is None for name in classes.labels):
        return set()
    ids, gone = sorted(label_ids), set[int]()
    for start in range(0, len(ids), ROWS):
        rows = session.execute(select(Label.id, Label.boxes).where(Label.id.in_(ids[start : start + ROWS]))).tuples()
        gone |= {label_id for label_id, boxes in rows if boxes and not any(classes.read(box["label"]) for box in boxes)}
    return gone


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
