"""How a run trains: from which weights, by the settings, and by what it was asked for instead."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import structlog

from labelwheel.augmentations import read_augmentations
from labelwheel.database.tables import Dataset, ModelVersion, TrainingRun
from labelwheel.errors import TrainingError
from labelwheel.serving import model_path
from labelwheel.settings import Settings
from labelwheel.vision.image import digest
from retrain.dataset import content, version
from retrain.run.work import Work
from retrain.training.asked import Asked
from retrain.training.launch import threads
from retrain.training.spec import Spec

AS_SET = Asked()
ANOTHER_START = "start from scratch: `labelwheel retrain --from scratch`."

log = structlog.get_logger(__name__)


def recipe_for(settings: Settings, folder: Path, data: Path, images: int, start: str | None, seed: int, asked: Asked = AS_SET) -> Spec:
    """A spec: warm from the weights `start`, else from scratch; by the settings where nothing else was asked for."""
    return Spec(
        folder=str(folder),
        data=str(data),
        start=start or f"{asked.architecture or settings.architecture}.yaml",
        images=images,
        updates=asked.updates or (settings.warm_updates if start else settings.first_updates),
        batch_size=asked.batch_size or settings.batch_size,
        image_size=asked.image_size or settings.image_size,
        learning_rate=asked.learning_rate or (settings.learning_rate / 4 if start else settings.learning_rate),
        seed=seed,
        threads=threads(settings.train_threads),
        nice=settings.train_nice,
        augmentations=read_augmentations(settings.augmentations if asked.augmentations is None else asked.augmentations),
        freeze=(settings.freeze if asked.freeze is None else asked.freeze) if start else 0,
    )


def weights_of(model: ModelVersion, work: Work) -> Path:
    """Weights that a training can start from, brought back from MLflow where they were pruned. Raises TrainingError.

    To load weights is to run what they carry, so only those are handed out that were kept as this version's. Ultralytics finds the
    classes of weights by their names, so another order or number of classes is no harm.
    """
    path = model_path(model.weights_uri, work.settings)
    if not path.is_file():
        _bring_back(model, work, path)
    elif not _is_kept(model, path):
        message = f"{path} is not the file that was kept as the weights of {model.title}: its SHA-256 is another."
        raise TrainingError(message, f"Bring it back from a backup, or remove it, for MLflow may have it; {ANOTHER_START}")
    return path


def _bring_back(model: ModelVersion, work: Work, path: Path) -> None:
    draft = path.with_name(f".{path.name}")
    try:
        work.registry.fetch(model.mlflow_run_id or "", f"weights/{path.name}", draft)
    except Exception as error:  # MLflow's stores raise errors of many packages
        cure = f"Bring back {model.weights_uri} from a backup, or {ANOTHER_START}"
        raise TrainingError(f"The weights of {model.title} are gone: {error}", cure) from error
    if not _is_kept(model, draft):
        draft.unlink()
        message = (
            f"What MLflow has as the weights of {model.title} is not the file that it was given: its SHA-256 is another. It was not loaded."
        )
        cure = f"Look who may write to MLflow's artifacts. Bring back {model.weights_uri} from a backup, or {ANOTHER_START}"
        raise TrainingError(message, cure)
    draft.replace(path)


def _is_kept(model: ModelVersion, path: Path) -> bool:
    if model.weights_sha256 is None:  # from before it was kept
        log.warning("weights are loaded unchecked, no SHA-256 of them is known", model=model.title)
        return True
    return digest(path.read_bytes()) == model.weights_sha256


def recipe_of(work: Work, row: TrainingRun) -> Spec:
    """A run's spec, with a fresh seed; its dataset is put where the trainer reads it."""
    with work.database.read() as session:
        stored, chosen = session.get_one(Dataset, row.dataset_id), content.recall(session, row.dataset_id or 0)
        start = row.metrics.get("start") or {}
        model = session.get_one(ModelVersion, start["model_version"]) if start else None
    folder = version.check_out(work.datasets, stored.content_hash, work.settings.dvc_remote)
    weights = str(weights_of(model, work)) if model else None
    images = len(chosen.only("train", "replay"))
    seed = secrets.randbelow(2**31)
    found = recipe_for(work.settings, work.folder, folder / "data.yaml", images, weights, seed, Asked.of(row.request))
    known = chosen.class_map
    formerly = {name: known.labels[class_id] for name, class_id in known.former.items()}
    return replace(found, formerly=formerly, retired=[known.labels[class_id] for class_id in known.retired])
