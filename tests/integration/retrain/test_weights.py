"""Weights are only loaded when they are those that were kept: to load them is to run what they carry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import ClassMap, ModelVersion, Project, TrainingRun
from labelwheel.errors import TrainingError
from labelwheel.registry import Registry
from labelwheel.settings import Settings
from labelwheel.vision.image import digest
from retrain.run.close import close_ended
from retrain.run.trigger import trigger
from retrain.run.work import Work
from retrain.training.recipe import weights_of

OURS, THEIRS = b"weights", b"arbitrary code"


@pytest.fixture
def work(database: Database, settings: Settings, project: Project, mlflow: None) -> Work:
    return Work(database, settings.model_copy(update={"keep_challengers": 0}), trigger(database, settings, project.id, "manual").id)


def test_what_comes_from_mlflow_is_what_was_given_to_it_or_nothing(work: Work, tmp_path: Path) -> None:
    model, path = _model(work, digest(OURS))
    path.unlink()
    _replace(work, model, tmp_path, THEIRS)
    with pytest.raises(TrainingError, match="is not the file that it was given") as told:
        weights_of(model, work)
    assert "--from scratch" in told.value.cure and list(path.parent.iterdir()) == [], "it lies nowhere for another to load"
    _replace(work, model, tmp_path, OURS)
    assert weights_of(model, work) == path and path.read_bytes() == OURS and list(path.parent.iterdir()) == [path]


def test_a_file_of_ours_that_somebody_replaced_is_refused(work: Work) -> None:
    model, path = _model(work, digest(OURS))
    assert weights_of(model, work) == path
    path.write_bytes(THEIRS)
    with pytest.raises(TrainingError, match=re.escape(f"{path} is not the file that was kept")):
        weights_of(model, work)
    path.unlink()  # as the cure says
    assert weights_of(model, work).read_bytes() == OURS


def test_weights_from_before_are_known_again_once_they_were_pruned(work: Work, tmp_path: Path) -> None:
    model, path = _model(work, None)
    assert weights_of(model, work) == path
    close_ended(work)
    assert not path.exists()
    with work.database.read() as session:
        known = session.get_one(ModelVersion, model.id)
    assert known.weights_sha256 == digest(OURS)
    _replace(work, model, tmp_path, THEIRS)
    with pytest.raises(TrainingError, match="its SHA-256 is another"):
        weights_of(known, work)
    assert weights_of(model, work).read_bytes() == THEIRS, "of those pruned before nothing is known"


def _model(work: Work, sha256: str | None) -> tuple[ModelVersion, Path]:
    """A challenger that never served, with its weights here and in MLflow."""
    path = work.settings.home / "models" / "run-old" / "model.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(OURS)
    mlflow_run = work.registry.run("old", "training")
    work.registry.attach(mlflow_run, path.parent, "weights")
    with work.database.write() as session:
        project_id = session.get_one(TrainingRun, work.run_id).project_id
        run = TrainingRun(project_id=project_id, cause="manual", status="kept_champion")
        session.add(run)
        session.flush()
        model = ModelVersion(
            project_id=project_id, name="labelwheel", version=1, onnx_uri="m.onnx", onnx_sha256="0" * 64, weights_sha256=sha256,
            weights_uri="models/run-old/model.pt", class_map_id=session.scalars(select(ClassMap.id)).one(), training_run_id=run.id,
            mlflow_run_id=mlflow_run,
        )  # fmt: skip
        session.add(model)
    return model, path


def _replace(work: Work, model: ModelVersion, tmp_path: Path, data: bytes) -> None:
    """Somebody writes to MLflow's artifacts."""
    (tmp_path / "given").mkdir(exist_ok=True)
    (tmp_path / "given" / "model.pt").write_bytes(data)
    registry: Registry = work.registry
    registry.attach(model.mlflow_run_id or "", tmp_path / "given", "weights")
