"""What a model's weights have seen: no label of those images may be judged by it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import IMPORTED, AnnotationRevision, DatasetItem, Label, ModelVersion, TrainingRun

TRAINED_ON = ("train", "replay")


def seen_images(session: Session, model_version_id: int) -> set[int]:
    """Ids of the images that the version, or one that it was trained on from, was trained on.

    Images and not labels: who was trained on an earlier label of the image remembers that one. Of a version that was brought nothing is
    known, so that every image whose label was brought with a dataset counts.
    """
    images: set[int] = set()
    version: int | None = model_version_id
    while version is not None:
        run = session.scalar(
            select(TrainingRun).join(ModelVersion, ModelVersion.training_run_id == TrainingRun.id).where(ModelVersion.id == version)
        )
        if run is None:
            return images | _brought(session, version)
        trained = select(DatasetItem.image_id).where(DatasetItem.dataset_id == run.dataset_id, DatasetItem.split.in_(TRAINED_ON))
        images |= set(session.scalars(trained))
        version = run.champion_id
    return images


def _brought(session: Session, model_version_id: int) -> set[int]:
    project = select(ModelVersion.project_id).where(ModelVersion.id == model_version_id).scalar_subquery()
    query = select(Label.image_id).join(AnnotationRevision, AnnotationRevision.id == Label.annotation_revision_id)
    return set(session.scalars(query.where(Label.project_id == project, AnnotationRevision.unique_id.startswith(IMPORTED))))
