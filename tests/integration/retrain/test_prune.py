"""Weights go when MLflow has them. A look at MLflow that comes to nothing leaves them, and stops no training."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import ClassMap, ModelVersion, Project, TrainingRun
from labelwheel.registry import Registry
from labelwheel.settings import Settings
from retrain import jobs
from retrain.run import stages
from retrain.run.trigger import trigger
from retrain.run.work import Work


@pytest.mark.usefixtures("mlflow")
def test_no_look_at_mlflow_stops_a_training(
    database: Database, settings: Settings, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(settings.mlflow_uri, settings.home / "mlflow" / "artifacts")
    mirrored = [registry.run(f"saltsalt-{number}", "training") for number in (1, 2)]
    torn, safe, *unknown = (
        _kept(database, settings, project, number, run) for number, run in enumerate([*mirrored, *(f"{n:032x}" for n in range(6))], 1)
    )
    registry.attach(mirrored[1], safe.parent, "weights")
    monkeypatch.setattr(registry._client, "list_artifacts", _torn(registry, mirrored[0]))
    monkeypatch.setattr(Work, "registry", registry)
    turned: list[int] = []
    monkeypatch.setattr(stages, "turn", lambda work: turned.append(work.run_id))
    run = trigger(database, settings.model_copy(update={"keep_challengers": 0}), project.id, "manual")
    work = Work(database, settings.model_copy(update={"keep_challengers": 0}), run.id)
    assert jobs._begin(work)
    jobs._attempt(work)
    assert turned == [run.id]
    assert (torn.exists(), safe.exists(), [path.exists() for path in unknown]) == (True, False, [True] * 6)


@pytest.mark.usefixtures("mlflow")
def test_a_run_that_mlflow_does_not_know_has_nothing(settings: Settings) -> None:
    registry = Registry(settings.mlflow_uri, settings.home / "mlflow" / "artifacts")
    assert not registry.has("0" * 32, "weights", "model.pt") and not registry.has("", "weights", "model.pt")


def _torn(registry: Registry, run_id: str) -> object:
    """`list_artifacts`, but for one run there is no answer."""
    ask = registry._client.list_artifacts

    def answer(asked: str, folder: str) -> object:
        if asked == run_id:
            raise ConnectionError("Max retries exceeded")
        return ask(asked, folder)

    return answer


def _kept(database: Database, settings: Settings, project: Project, number: int, mlflow_run: str) -> Path:
    """The weights of a challenger that was trained and never served."""
    folder = settings.home / "models" / f"run-{number}"
    folder.mkdir(parents=True)
    (folder / "model.pt").write_text(f"weights {number}")
    with database.write() as session:
        run = TrainingRun(project_id=project.id, cause="manual", status="kept_champion")
        session.add(run)
        session.flush()
        session.add(
            ModelVersion(
                project_id=project.id,
                name=settings.model_name,
                version=number,
                onnx_uri="model.onnx",
                onnx_sha256="0" * 64,
                weights_uri=f"models/run-{number}/model.pt",
                class_map_id=session.scalars(select(ClassMap.id)).one(),
                training_run_id=run.id,
                mlflow_run_id=mlflow_run,
            )
        )
    return folder / "model.pt"
