"""What ended runs leave behind: scratch that can be made again goes, and what a run that came to nothing had begun elsewhere."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import ACTIVE_RUN_STATUSES, ENDED_RUN_STATUSES, Deployment, ModelVersion, TrainingRun
from labelwheel.serving import model_path
from labelwheel.vision.image import digest
from retrain.dataset import version
from retrain.run.work import TRAINED, Work

log = structlog.get_logger(__name__)

CLOSED = "closed"  # in a run's folder: nothing is left to do
SCRATCH = ("fit", "config", "plots")
NO_MODEL = ("failed", "cancelled")
DRAFT_SECONDS = 24 * 3600  # a draft that nobody wrote to for so long was left by a kill


def close_ended(work: Work) -> None:
    """Close the runs of the project that have ended, also those whose worker died, and prune weights. Again does nothing."""
    with work.database.read() as session:
        project_id = session.get_one(TrainingRun, work.run_id).project_id
        ended = select(TrainingRun).where(TrainingRun.project_id == project_id, TrainingRun.status.in_(ENDED_RUN_STATUSES))
        rows = list(session.scalars(ended.order_by(TrainingRun.id)))
    for row in rows:
        mine = replace(work, run_id=row.id)
        if mine.folder.is_dir() and (row.id == work.run_id or not (mine.folder / CLOSED).exists()):
            _try_to_close(mine, row)
    _prune(work, project_id)
    for draft in work.datasets.glob(".*.draft"):
        if _age(draft) > DRAFT_SECONDS:
            shutil.rmtree(draft, ignore_errors=True)


def superfluous(models: Sequence[ModelVersion], needed: Iterable[int], keep: int) -> list[ModelVersion]:
    """Trained models whose weights may go: none that is needed, and not the newest `keep` of the others. Pure."""
    wanted = set(needed)
    idle = [model for model in models if model.training_run_id is not None and model.weights_uri and model.id not in wanted]
    return sorted(idle, key=lambda model: -model.id)[keep:]


def needed(session: Session, project_id: int) -> set[int]:
    """Models that stay as they are: those that ever served, for a rollback; those that a run, or a control to come, goes on from."""
    found = set(session.scalars(select(Deployment.model_version_id).where(Deployment.project_id == project_id)))
    for row in session.scalars(select(TrainingRun).where(TrainingRun.project_id == project_id)):
        if row.status in ACTIVE_RUN_STATUSES or (row.control or {}).get("state") == "due":
            start = (row.metrics.get("start") or {}).get("model_version")
            found |= {number for number in (row.champion_id, row.challenger_id, start) if number}
    return found


def _age(path: Path) -> float:
    """Seconds since it was written to; 0 of what has just gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _try_to_close(work: Work, row: TrainingRun) -> None:
    try:
        _close(work, row)
    except Exception:
        log.exception("run not closed, the next one tries again", run=row.id)  # MLflow or DVC: no reason not to train


def _close(work: Work, row: TrainingRun) -> None:
    if row.status in NO_MODEL and row.challenger_id is None:
        shutil.rmtree(work.models, ignore_errors=True)
        if row.percent >= TRAINED:  # MLflow may have heard of it
            work.registry.withdraw(work.key(), work.settings.model_name)
    _drop_dataset(work, row)
    for name in SCRATCH:
        shutil.rmtree(work.folder / name, ignore_errors=True)
    if row.mlflow_run_id:
        work.registry.end(row.mlflow_run_id, failed=row.status in NO_MODEL)
    (work.folder / CLOSED).touch()


def _drop_dataset(work: Work, row: TrainingRun) -> None:
    """The working copy goes, for DVC has the version; unless the run that is active has chosen the same."""
    content_hash = row.metrics.get("dataset")
    with work.database.read() as session:
        active = session.scalars(select(TrainingRun).where(TrainingRun.status.in_(ACTIVE_RUN_STATUSES)))
        used = {run.metrics.get("dataset") for run in active}
    if content_hash and content_hash not in used:
        version.drop(work.datasets, content_hash)
        if row.dataset_id is None:  # ended before it was a version
            shutil.rmtree(work.datasets / content_hash, ignore_errors=True)


def _prune(work: Work, project_id: int) -> None:
    """Remove weights of challengers that never served. MLflow has them too: a start from such a version brings them back."""
    with work.database.read() as session:
        models = list(session.scalars(select(ModelVersion).where(ModelVersion.project_id == project_id)))
        going = superfluous(models, needed(session, project_id), work.settings.keep_challengers)
    for model in going:
        _try_to_prune(work, model)


def _know_again(work: Work, model: ModelVersion, path: Path) -> None:
    """Keep the SHA-256 of weights from before it was kept: this is the last look at a file that was ours alone."""
    if model.weights_sha256 is None:
        with work.database.write() as session:
            session.get_one(ModelVersion, model.id).weights_sha256 = digest(path.read_bytes())


def _try_to_prune(work: Work, model: ModelVersion) -> None:
    path = model_path(model.weights_uri, work.settings)
    try:
        if path.is_file() and work.registry.has(model.mlflow_run_id or "", "weights", path.name):
            _know_again(work, model, path)
            path.unlink()
            log.info("weights pruned", model=model.title)
    except Exception:
        log.exception("weights not pruned, the next run tries again", model=model.title)  # MLflow is away: no reason not to train
