"""Which labels a model may judge, or be judged by: those of images that its weights have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import IMPORTED, AnnotationRevision, DatasetItem, Label, ModelVersion, Prediction, TrainingRun
from labelwheel.serving import detections_of
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.class_view import drawn_as, seen_as
from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.label_config import ControlTag

TRAINED_ON = ("train", "replay")


ROWS = 500  # older SQLite takes 999 variables in one statement


def unseen_labels(
    session: Session, project_id: int, model_version_id: int, tags: Sequence[ControlTag], classes: ClassMap, most: int
) -> list[tuple[Label, list[Detection]]]:
    """The newest approved labels of images that the version has looked at and was not trained on, with what it found there.

    What a camera sees now is what people review next, so at most so many are read. Detections bear the labels that the tags show them by,
    which are those of `shown_under`.
    """
    newest = _newest(session, project_id, model_version_id)
    seen = seen_images(session, model_version_id) if newest else set()
    wanted = [label_id for image_id, label_id in newest.items() if image_id not in seen][:most]
    found: list[tuple[Label, list[Detection]]] = []
    for start in range(0, len(wanted), ROWS):
        query = select(Label, Prediction).join(Prediction, Prediction.image_id == Label.image_id)
        query = query.where(Label.id.in_(wanted[start : start + ROWS]), Prediction.model_version_id == model_version_id)
        rows = session.execute(query.order_by(Label.id.desc())).tuples()
        found += [(label, shown_as(seen_as(detections_of(prediction), classes), tags)) for label, prediction in rows]
    return found


def _newest(session: Session, project_id: int, model_version_id: int) -> dict[int, int]:
    """Image → its newest approved label in force, newest first, of the images that the version has looked at."""
    looked = select(Prediction.id).where(Prediction.image_id == Label.image_id, Prediction.model_version_id == model_version_id).exists()
    query = select(Label.image_id, Label.id).where(Label.project_id == project_id, looked)
    query = query.where(Label.approved_at.is_not(None), Label.superseded_by.is_(None), Label.withdrawn_at.is_(None))
    found: dict[int, int] = {}
    for image_id, label_id in session.execute(query.order_by(Label.approved_at.desc(), Label.id.desc())).tuples():
        found.setdefault(image_id, label_id)
    return found


def shown_as(detections: Sequence[Detection], tags: Sequence[ControlTag]) -> list[Detection]:
    """The detections under the labels that the tags show them by; those that none shows are left out."""
    named = ((item, _shown(item.label, tags)) for item in detections if not item.whole)
    return [replace(item, label=label) for item, label in named if label is not None]


def drawn_under(label: Label, tags: Sequence[ControlTag], classes: ClassMap) -> list[LabelledBox]:
    """The boxes of a label, under the labels that the tags show their classes by today; those that none shows keep their names."""
    return [replace(box, label=_shown(box.label, tags) or box.label) for box in drawn_as(boxes_of(label), classes)]


def _shown(label: str, tags: Sequence[ControlTag]) -> str | None:
    return next((shown[0] for tag in tags if (shown := tag.shows(label, 0))), None)


def boxes_of(label: Label) -> list[LabelledBox]:
    return [LabelledBox.from_dict(box) for box in label.boxes]


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
        version = run.started_from
    return images


def _brought(session: Session, model_version_id: int) -> set[int]:
    project = select(ModelVersion.project_id).where(ModelVersion.id == model_version_id).scalar_subquery()
    query = select(Label.image_id).join(AnnotationRevision, AnnotationRevision.id == Label.annotation_revision_id)
    return set(session.scalars(query.where(Label.project_id == project, AnnotationRevision.unique_id.startswith(IMPORTED))))
