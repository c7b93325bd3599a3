"""What did the new labels buy? The control trains as long from the same weights, on old labels only, and is scored on the same holdout."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import select

from labelwheel.database.tables import ACTIVE_RUN_STATUSES, ModelVersion, TrainingRun
from labelwheel.errors import DatasetError
from labelwheel.serving import model_path
from retrain.dataset import content, yolo
from retrain.dataset.content import Item, Plan
from retrain.gate.compare import Holdout, compare
from retrain.gate.evaluate import Scores
from retrain.run.attempts import MOST_FRUITLESS, WORTH, Stood, Waits
from retrain.run.mirror import reaching
from retrain.run.stages import score
from retrain.run.work import CONTROL, Work
from retrain.training import launch, spec
from retrain.training.spec import Progress, Result, Spec

log = structlog.get_logger(__name__)


def run_control(work: Work) -> None:
    """Train and score the control of an ended run, if one is due. Gives way to a real training; the sweep asks again."""
    row = work.row()
    noted = row.control or {}
    if noted.get("state") != "due" or _busy(work, row.project_id):
        return
    attempts = noted.get("attempts", 0)
    stood = Stood.of(noted).now(noted.get("percent", 0.0), attempts)
    lost = stood.fruitless(attempts)
    if lost >= MOST_FRUITLESS:
        _end(work, {"state": "failed", "error": noted.get("error") or f"It was interrupted {lost} times without a word."})
        return
    _note(work, attempts=attempts + 1, stood=stood.as_dict(), error=None)
    try:
        _end(work, _train_and_score(work, row))
    except launch.Cancelled:
        _note(work, attempts=attempts)
        log.info("control gave way to a training", run=row.id)
    except Waits as error:
        _note(work, attempts=attempts, error=str(error))
        log.warning("control waits", run=row.id, reason=error.message)
    except DatasetError as error:  # the same labels would end the same way
        _end(work, {"state": "failed", "error": str(error)})
    except Exception as error:
        log.exception("control stumbled", run=row.id)
        _note(work, error=str(error))


def _end(work: Work, outcome: dict[str, Any]) -> None:
    shutil.rmtree(work.folder / CONTROL, ignore_errors=True)
    _record(work, outcome)


def _record(work: Work, outcome: dict[str, Any]) -> None:
    with work.database.write() as session:
        session.get_one(TrainingRun, work.run_id).control = outcome


def _note(work: Work, **values: Any) -> None:
    """Add to what is known of a control that is due."""
    with work.database.write() as session:
        row = session.get_one(TrainingRun, work.run_id)
        row.control = {**(row.control or {}), **values}


def _got_on(work: Work, percent: float) -> None:
    if percent >= (work.row().control or {}).get("percent", 0.0) + WORTH:
        _note(work, percent=percent)


def _train_and_score(work: Work, row: TrainingRun) -> dict[str, Any]:
    with work.database.read() as session:
        original = content.recall(session, row.dataset_id or 0)
        old = content.old_items(session, row.project_id, row.id, original, row.id)
    images = len(old.only("replay"))
    if not images:
        raise DatasetError("There are no older labels to train a control on.", "A control needs an earlier run.")
    folder = work.folder / CONTROL / old.content_hash[:12]  # what was begun with labels that stand no more is not gone on with
    data = yolo.write(old, work.store, folder / "dataset")
    recipe = spec.read_spec(folder) or _recipe(work, folder, data, images)

    def wanted(progress: Progress | None) -> bool:
        _got_on(work, progress.percent if progress else 0.0)
        return not _busy(work, row.project_id)

    result = launch.launch(recipe, wanted)
    _got_on(work, 100.0)
    mlflow_run = _begin(work, row)  # where MLflow is away, nothing is scored in vain
    items = original.only("holdout")
    scored = score(work, Path(result.onnx), original, items)
    scores = scored.as_dict()
    _mirror(work, mlflow_run, old, recipe, result, scores)
    training = {"updates": result.updates, "seconds": result.seconds, "train_images": images, "seed": recipe.seed}
    work.models.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(result.onnx, work.models / "control.onnx")  # so that anybody may score it again
    return {"state": "done", **scores, **training, "against": _against(work, row, original, items, scored), "mlflow_run_id": mlflow_run}


def _against(work: Work, row: TrainingRun, original: Plan, items: Sequence[Item], control: Scores) -> dict[str, Any] | None:
    """How far the challenger is ahead of the control, with the bounds of a paired bootstrap over the holdout's images."""
    if row.challenger_id is None or not items:
        return None
    with work.database.read() as session:
        onnx = model_path(session.get_one(ModelVersion, row.challenger_id).onnx_uri, work.settings)
    challenger = score(work, onnx, original, items)
    holdout = Holdout(tuple(challenger.per_class), tuple(item.source for item in items), challenger.matches.truths)
    return compare(control.matches, challenger.matches, holdout, work.settings.gate_confidence, work.run_id)


def _recipe(work: Work, folder: Path, data: Path, images: int) -> Spec:
    original = spec.read_spec(work.folder)
    if original is None or not original.warm:
        raise DatasetError("The run's recipe is gone, or it did not start warm.", "Controls follow warm starts only.")
    return replace(original, folder=str(folder), data=str(data), images=images, updates=original.updates_made)


def _begin(work: Work, row: TrainingRun) -> str:
    with reaching("control"):
        return work.registry.run(f"{work.key()}-control", f"control of training {row.id}")


def _mirror(work: Work, run_id: str, old: Plan, recipe: Spec, result: Result, scores: dict[str, Any]) -> None:
    params = {"updates": recipe.updates, "images": recipe.images, "seed": recipe.seed}
    with reaching("control"):
        work.registry.note(run_id, params, {"labelwheel.dataset": old.content_hash})
        work.registry.measure(run_id, spec.read_history(Path(recipe.folder)))
        work.registry.measure(run_id, [(result.epochs, {name: scores[name] for name in ("map50", "map50_95")})])
        work.registry.end(run_id)


def _busy(work: Work, project_id: int) -> bool:
    active = select(TrainingRun.id).where(TrainingRun.project_id == project_id, TrainingRun.status.in_(ACTIVE_RUN_STATUSES))
    with work.database.read() as session:
        return session.scalar(active.limit(1)) is not None
