"""Which datasets, runs and models have used some labels or images: what has seen them cannot unlearn them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from labelwheel.database.tables import Dataset, DatasetItem, ModelVersion, TrainingRun

PORTION = 500


@dataclass(frozen=True, slots=True)
class Used:
    """Content hashes of datasets; training runs; titles of the models that came out of them, and of those that were started from these."""

    datasets: list[str]
    runs: list[int]
    models: list[str]
    descendants: list[str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def used_labels(session: Session, project_id: int, label_ids: Collection[int]) -> Used:
    """What was made with these labels."""
    return _used(
        session, project_id, [select(DatasetItem.dataset_id).where(DatasetItem.label_id.in_(some)) for some in _portions(label_ids)]
    )


def used_image(session: Session, project_id: int, image_id: int) -> Used:
    """What was made with an image."""
    return _used(session, project_id, [select(DatasetItem.dataset_id).where(DatasetItem.image_id == image_id)])


def _used(session: Session, project_id: int, queries: Collection[Select[int]]) -> Used:
    datasets = sorted({dataset_id for query in queries for dataset_id in session.scalars(query.distinct())})
    runs = list(session.scalars(select(TrainingRun).where(TrainingRun.project_id == project_id).order_by(TrainingRun.id)))
    mine = [run for run in runs if run.dataset_id in datasets]
    models = {model.id: model.title for model in session.scalars(select(ModelVersion).where(ModelVersion.project_id == project_id))}
    first = {run.challenger_id for run in mine if run.challenger_id is not None}
    later = _descendants(runs, first) - first
    return Used(
        datasets=sorted(session.scalars(select(Dataset.content_hash).where(Dataset.id.in_(datasets)))),
        runs=[run.id for run in mine],
        models=[models[model_id] for model_id in sorted(first)],
        descendants=[models[model_id] for model_id in sorted(later)],
    )


def _descendants(runs: Collection[TrainingRun], roots: Collection[int]) -> set[int]:
    """Models whose weights were started from these, however far on. Runs are in the order of their making."""
    found = set(roots)
    for run in runs:
        if run.started_from in found and run.challenger_id is not None:
            found.add(run.challenger_id)
    return found


def _portions(ids: Collection[int]) -> list[list[int]]:
    ordered = sorted(ids)
    return [ordered[start : start + PORTION] for start in range(0, len(ordered), PORTION)]
