"""How a run trains: warm from the champion's weights, else from scratch, by the settings."""

from __future__ import annotations

import secrets
from pathlib import Path

from labelwheel.database.tables import Dataset, ModelVersion, TrainingRun
from labelwheel.serving import model_path
from labelwheel.settings import Settings
from retrain.dataset import content, version
from retrain.run.work import Work
from retrain.training.launch import threads
from retrain.training.spec import Spec


def recipe_for(settings: Settings, folder: Path, data: Path, images: int, start: str | None, seed: int) -> Spec:
    """A spec by the settings: warm from the weights `start`, else from scratch."""
    return Spec(
        folder=str(folder),
        data=str(data),
        start=start or f"{settings.architecture}.yaml",
        images=images,
        updates=settings.warm_updates if start else settings.first_updates,
        batch_size=settings.batch_size,
        image_size=settings.image_size,
        learning_rate=settings.learning_rate / 4 if start else settings.learning_rate,
        seed=seed,
        threads=threads(settings.train_threads),
        nice=settings.train_nice,
    )


def weights_of(champion: ModelVersion | None, settings: Settings) -> Path | None:
    """Weights that a training can start from; None where there are none: an imported ONNX file serves, but cannot be trained on.

    Ultralytics finds the classes of weights by their names, so another order or number of classes is no harm.
    """
    if champion is None or not champion.weights_uri:
        return None
    path = model_path(champion.weights_uri, settings)
    return path if path.is_file() else None


def recipe_of(work: Work, row: TrainingRun) -> Spec:
    """A run's spec, with a fresh seed; its dataset is brought back if its working copy is gone."""
    with work.database.read() as session:
        stored, chosen = session.get_one(Dataset, row.dataset_id), content.recall(session, row.dataset_id or 0)
        champion = session.get(ModelVersion, row.champion_id) if row.champion_id else None
    folder = work.datasets / stored.content_hash
    if not folder.is_dir():
        version.restore(work.datasets, stored.content_hash, work.settings.dvc_remote)
    weights = weights_of(champion, work.settings)
    start = str(weights) if weights else None
    images = len(chosen.only("train", "replay"))
    return recipe_for(work.settings, work.folder, folder / "data.yaml", images, start, secrets.randbelow(2**31))
