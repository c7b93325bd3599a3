"""The stages of a run: export, train, evaluate, conclude. Each does nothing when its outcome is recorded, so any may be asked again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.orm import Session

from labelwheel import queue
from labelwheel.database.tables import Dataset, Decision, ModelVersion, TrainingRun, utcnow
from labelwheel.errors import ConflictError, TrainingError
from labelwheel.project import current_class_map
from labelwheel.serving import model_path, newest_deployment
from labelwheel.settings import Settings
from labelwheel.vision.image import digest
from retrain.dataset import content, labels
from retrain.dataset.add import add
from retrain.dataset.content import Item, Plan
from retrain.gate import judge as gate
from retrain.gate.anchor import standing
from retrain.gate.evaluate import Scores
from retrain.gate.judge import Challenger
from retrain.model.deploy import deploy
from retrain.run.mirror import begin, mirror
from retrain.run.space import free_bytes, need_of, parameters_of
from retrain.run.work import EXPORTED, LOCK, SETTLED, TRAINED, Work
from retrain.training import launch, spec
from retrain.training.asked import Asked
from retrain.training.recipe import recipe_of
from retrain.training.spec import Progress, Result, Spec
from retrain.training.start import start_of

log = structlog.get_logger(__name__)

NO_OLD = "all labels that it was trained on are new"
NO_NEW = "all labels that it was trained on are old"


def turn(work: Work) -> None:
    """From wherever the run stands to its end."""
    for stage in (export, train, judge, conclude):
        stage(work)


def export(work: Work) -> None:
    """Choose the labels, add them to DVC as a version, record it."""
    row = work.row()
    if row.dataset_id is not None:
        return
    work.set(status="exporting")
    _clear(work)
    with work.database.read() as session:
        classes = current_class_map(session, row.project_id)
        champion = newest_deployment(session, row.project_id)
        start = start_of(session, row.project_id, Asked.of(row.request).start, work.settings.model_name)
        chosen = content.plan(session, row.project_id, classes, replay=work.settings.replay if start.replays else None, seed=work.run_id)
        fresh = _fresh_labels(session, row, chosen)
    _demand_space(work, row, chosen, start.version)
    work.set(metrics=_merged(work, dataset=chosen.content_hash), error=None)
    dvc_hash = add(chosen, work.store, work.datasets, work.settings.dvc_remote, work.beat)
    path = str((work.datasets / chosen.content_hash).relative_to(work.settings.home))
    with work.database.write() as session:
        stored = content.remember(session, row.project_id, classes, chosen, path, dvc_hash)
    rival, metrics = champion.model_version_id if champion else None, _merged(work, start=start.as_dict())
    work.set(dataset_id=stored.id, champion_id=rival, new_labels=fresh, percent=EXPORTED, metrics=metrics)


def train(work: Work) -> None:
    """Run the trainer until its result is there."""
    row = work.row()
    if row.challenger_id is not None:
        return
    work.set(status="training")
    recipe = spec.read_spec(work.folder) or recipe_of(work, row)

    def wanted(progress: Progress | None) -> bool:
        work.beat(**_told(work, row, progress))
        return True

    result = launch.launch(recipe, wanted)
    work.set(percent=TRAINED, metrics=_merged(work, training=_training(work, recipe, result)))


def judge(work: Work) -> None:
    """Score challenger and champion on the same images, let the gate decide, register the challenger."""
    row = work.row()
    if row.challenger_id is not None:
        return
    work.set(status="evaluating")
    begin(work, row)  # where MLflow is away, nothing is scored in vain
    recipe, result = spec.read_spec(work.folder), spec.read_result(work.folder)
    if recipe is None or result is None:
        raise TrainingError("The trainer's files are gone.", f"Nobody but the run may write to {work.folder}.")
    with work.database.read() as session:
        stored, chosen = session.get_one(Dataset, row.dataset_id), content.recall(session, row.dataset_id or 0)
        present = standing(session, row.project_id)
    onnx, weights = _keep_model(work, result)
    champion = present.champion
    # A first model may have no holdout yet: its training images then show at least whether it detects anything.
    items = chosen.only("holdout") or (() if champion else chosen.items)
    challenger = Challenger(f"training {row.id}", onnx, chosen.class_map.labels)
    judged = gate.judge(work.settings, challenger, present, chosen, items, work.run_id, row.slice, work.beat)
    values = {
        "judged_on": "holdout" if champion or chosen.only("holdout") else "train",
        "holdout": stored.holdout,
        "challenger": judged.challenger.as_dict(),
        "champion": judged.champion.as_dict() if judged.champion else None,
        "gate": judged.verdict.numbers,
    }
    metrics = _merged(work, **values)
    mlflow_run, number = mirror(work, row, stored, chosen, recipe, result, metrics, judged.challenger)
    with work.database.write() as session:
        work.claim(session)
        model = ModelVersion(
            project_id=row.project_id,
            name=work.settings.model_name,
            version=number,
            onnx_uri=_relative(onnx, work.settings),
            onnx_sha256=digest(onnx.read_bytes()),
            weights_uri=_relative(weights, work.settings),
            weights_sha256=digest(weights.read_bytes()),
            class_map_id=stored.class_map_id,
            training_run_id=row.id,
            mlflow_run_id=mlflow_run,
        )
        more = {"challenger_version": f"{work.settings.model_name}@{number}", "holdout": stored.holdout, "path": "run", "run": row.id}
        decision = judged.decision(row.project_id, "promote" if judged.verdict.promote else "keep", **more)
        session.add_all([model, decision])
        session.flush()
        mine = session.get_one(TrainingRun, row.id)
        mine.challenger_id, mine.gate_decision_id, mine.mlflow_run_id, mine.metrics = model.id, decision.id, mlflow_run, metrics
        mine.champion_id = champion.id if champion else None


def conclude(work: Work) -> None:
    """Deploy what the gate promoted and end the run. MLflow's run ends when ours is closed."""
    row = work.row()
    with work.database.read() as session:
        decision = session.get_one(Decision, row.gate_decision_id)
    work.set(percent=SETTLED)  # from here on nobody can cancel it
    overtaken = _promote(work, row, decision) if decision.verdict == "promote" else None
    status = "promoted" if decision.verdict == "promote" and not overtaken else "kept_champion"
    control = _control(work, row)
    work.set(status=status, percent=100.0, finished_at=utcnow(), error=overtaken, control=control)
    log.info("training ended", run=row.id, status=status, reasons=decision.reasons)
    if control and control["state"] == "due":
        queue.ring("retrain.control", row.id)


def score(work: Work, onnx: Path, chosen: Plan, items: Sequence[Item], beat: Callable[[], object] = lambda: None) -> Scores:
    """A model, as it is served, on some items of a plan; `beat` is called before each image."""
    return gate.score_file(work.settings, onnx, chosen, items, beat)


def _promote(work: Work, row: TrainingRun, decision: Decision) -> str | None:
    """Deploy; else why not: somebody deployed another model since the verdict, and that one was not compared."""
    try:
        deploy(work.database, work.settings, row.challenger_id or 0, decision.id, row.champion_id)
    except ConflictError as error:
        return str(error)
    return None


def _control(work: Work, row: TrainingRun) -> dict[str, Any] | None:
    """The control that is due, or why there can be none; None where none is wanted."""
    if not work.settings.train_control or not (row.metrics.get("training") or {}).get("warm", False):
        return None
    with work.database.read() as session:
        chosen = content.recall(session, row.dataset_id or 0)
        old = content.old_items(session, row.project_id, row.id, chosen, row.id)
    trained = {item.label_id for item in chosen.only("train", "replay")}
    known = {item.label_id for item in old.only("replay")}
    why = NO_OLD if not known else NO_NEW if trained <= known else None
    return {"state": "none", "why": why} if why else {"state": "due"}


def _clear(work: Work) -> None:
    """Remove what is in the run's folders before it has begun: files of another run of its number, of another database or after a restored dump."""
    shutil.rmtree(work.models, ignore_errors=True)
    for path in work.folder.iterdir() if work.folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _fresh_labels(session: Session, row: TrainingRun, chosen: Plan) -> int:
    """Training labels that no finished run was trained on."""
    return len({item.label_id for item in chosen.only("train")} - labels.consumed(session, row.project_id))


def _told(work: Work, row: TrainingRun, progress: Progress | None) -> dict[str, Any]:
    if progress is None:
        return {}
    at = {"epoch": progress.epoch, "epochs": progress.epochs, "eta_seconds": progress.eta_seconds}
    seen = {**at, "losses": progress.losses, "history": _losses(work)}
    return {"percent": EXPORTED + (TRAINED - EXPORTED) * progress.percent / 100, "metrics": {**row.metrics, "progress": seen}}


def _losses(work: Work) -> list[dict[str, float]]:
    """Losses by epoch, for pages to draw."""
    history = spec.thinned(spec.read_history(work.folder))
    return [{"epoch": epoch, **{name: round(value, 5) for name, value in losses.items()}} for epoch, losses in history]


def _training(work: Work, recipe: Spec, result: Result) -> dict[str, Any]:
    took = {"updates": result.updates, "epochs": result.epochs, "seconds": result.seconds, "resumed": result.resumed}
    return {
        **took,
        "history": _losses(work),
        "image_size": recipe.image_size,
        "batch": recipe.batch,
        "images": recipe.images,
        "seed": recipe.seed,
        "warm": recipe.warm,
        "learning_rate": recipe.learning_rate,
    }


def _merged(work: Work, **values: Any) -> dict[str, Any]:
    return {**{key: value for key, value in work.row().metrics.items() if key != "progress"}, **values}


def _keep_model(work: Work, result: Result) -> tuple[Path, Path]:
    """Copy the model out of the scratch folder, whole or not at all: on the disk before the row that lets it serve, also if the power fails."""
    onnx, weights = work.models / "model.onnx", work.models / "model.pt"
    work.models.mkdir(parents=True, exist_ok=True)
    for source, target in ((result.onnx, onnx), (result.weights, weights)):
        draft = target.with_name(f".{target.name}")
        with Path(source).open("rb") as found, draft.open("wb") as stream:
            shutil.copyfileobj(found, stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(target)
    return onnx, weights


def _relative(path: Path, settings: Settings) -> str:
    return str(path.relative_to(settings.home))


def _demand_space(work: Work, row: TrainingRun, chosen: Plan, model: ModelVersion | None) -> None:
    settings, asked = work.settings, Asked.of(row.request)
    weights = model_path(model.weights_uri, settings) if model else None
    parameters = parameters_of(weights, asked.architecture or settings.architecture)
    with work.database.read() as session:
        size = content.image_bytes(session, chosen)
    need_of(size, len(chosen.items), parameters, settings.min_free_bytes).demand(free_bytes(settings.home))
