"""What a run does when the disk is full, what is left of ended ones, and that nothing is done twice or taken back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import ClassMap, Decision, Deployment, ModelVersion, Project, TrainingRun
from labelwheel.registry import EXPERIMENT, KEY, Registry
from labelwheel.schedule import due_work
from labelwheel.serving import newest_deployment
from labelwheel.settings import Settings
from labelwheel.vision.image import digest
from retrain import jobs
from retrain.dataset import labels
from retrain.model.deploy import deploy
from retrain.run import stages
from retrain.run.close import CLOSED, close_ended
from retrain.run.trigger import cancel, trigger
from retrain.run.work import SETTLED, TRAINED, Work
from retrain.training.launch import Cancelled
from retrain.training.recipe import weights_of
from tests.integration.retrain.conftest import as_if_trained


def test_a_run_waits_for_room_and_goes_on_by_itself(
    database: Database, settings: Settings, project: Project, label: Callable[..., None]
) -> None:
    label(0, 4, "train")
    run = trigger(database, settings, project.id, "manual")
    full = settings.model_copy(update={"min_free_bytes": 10**17})
    for _ in range(5):  # however often it is looked at
        jobs._attempt(_begun(Work(database, full, run.id)))
        with database.read() as session:
            row = session.get_one(TrainingRun, run.id)
            assert (row.status, row.attempts, row.dataset_id) == ("queued", 0, None)
            assert "100,000,000,000 MB" in (row.error or "") and "are free" in (row.error or "")
            assert ("retrain.run", run.id) in list(due_work(session, settings, row.created_at))
    assert not (settings.home / "datasets").exists()
    stages.export(_begun(Work(database, settings, run.id)))
    with database.read() as session:
        row = session.get_one(TrainingRun, run.id)
        assert row.dataset_id is not None and row.error is None


def test_a_run_adopts_no_files_of_another_databases_run(
    database: Database, settings: Settings, project: Project, label: Callable[..., None]
) -> None:
    label(0, 4, "train")
    work = Work(database, settings, trigger(database, settings, project.id, "manual").id)
    _leave(work.folder, "run.lock", "spec.json", "result.json", "progress.json", "fit/weights/last.onnx", "control/spec.json", CLOSED)
    _leave(work.models, "control.onnx", "model.pt")  # a later run's, that a restored dump has forgotten
    theirs = settings.home / "models" / "run-othersal-1"
    _leave(theirs, "model.onnx")
    stages.export(work)
    assert [path.name for path in work.folder.iterdir()] == ["run.lock"] and not work.models.exists()
    assert (theirs / "model.onnx").read_text() == "foreign", "it serves there"

    _leave(work.folder, "spec.json")  # its own by now
    stages.export(work)
    assert (work.folder / "spec.json").exists()


def _leave(folder: Path, *names: str) -> None:
    for path in (folder / name for name in names):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("foreign")


@pytest.mark.usefixtures("mlflow")
def test_a_finished_training_outlives_an_mlflow_that_is_away(
    database: Database, settings: Settings, project: Project, label: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    label(0, 8, "train")
    label(100, 8, "holdout")
    work = Work(database, settings, trigger(database, settings, project.id, "manual").id)
    as_if_trained(work, 8)
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        gone = settings.model_copy(update={"mlflow_uri": "http://127.0.0.1:1"})
        for _ in range(5):
            jobs._attempt(_begun(Work(database, gone, work.run_id)))
            row = work.row()
            assert (row.status, row.percent, row.attempts) == ("evaluating", TRAINED, 0) and "MLflow did not take" in (row.error or "")
    with monkeypatch.context() as away:  # after the deployment
        away.setattr(Registry, "end", lambda *_, **__: 1 / 0)
        jobs.run(work.run_id)
    row = work.row()
    assert (row.status, row.percent, row.error) == ("promoted", 100, None)
    with database.read() as session:
        serving = newest_deployment(session, project.id)
        assert serving is not None and serving.model_version_id == row.challenger_id
        assert serving.model_version.weights_sha256 == digest((work.models / "model.pt").read_bytes())
        assert len(labels.consumed(session, project.id)) == row.new_labels == 8
    state = work.registry._client.get_run
    assert state(row.mlflow_run_id).info.status == "RUNNING"
    close_ended(work)  # as the next run does
    assert state(row.mlflow_run_id).info.status == "FINISHED" and (work.folder / CLOSED).exists()


def test_what_is_about_to_serve_cannot_be_cancelled_and_what_is_cancelled_writes_nothing(
    database: Database, settings: Settings, project: Project
) -> None:
    run = trigger(database, settings, project.id, "manual")
    work = Work(database, settings, run.id)
    work.set(percent=SETTLED)
    assert not cancel(database, run.id)
    work.set(percent=TRAINED)
    assert cancel(database, run.id)
    with pytest.raises(Cancelled):
        work.set(percent=SETTLED)
    with pytest.raises(Cancelled), database.write() as session:
        session.add(Decision(project_id=project.id, kind="gate", verdict="promote", reasons=[], inputs={}))
        work.claim(session)
    with database.read() as session:
        assert not session.scalars(select(Decision)).all()


@pytest.mark.usefixtures("mlflow")
def test_ended_runs_leave_what_serves_a_rollback_a_control_or_a_run_and_little_else(
    database: Database, settings: Settings, project: Project
) -> None:
    registry = Registry(settings.mlflow_uri, settings.home / "mlflow" / "artifacts")
    served, pruned, started_from, kept = (_ended(database, settings, project, registry, status) for status in ("promoted", *["kept"] * 3))
    foreign = _ended(database, settings, project, registry, "kept", mirrored=False)  # MLflow lost it: ours stays
    newest = _ended(database, settings, project, registry, "kept")
    with database.write() as session:
        session.get_one(TrainingRun, kept.training_run_id).control = {"state": "due"}
        session.get_one(TrainingRun, kept.training_run_id).metrics = {"start": {"model_version": started_from.id}}
    gone = _cancelled(database, settings, project, registry)
    active = trigger(database, settings, project.id, "manual")
    work = Work(database, settings.model_copy(update={"keep_challengers": 1}), active.id)
    for _ in range(2):
        close_ended(work)
    there = {model.id for model in (served, pruned, started_from, kept, foreign, newest) if (settings.home / model.weights_uri).exists()}
    assert there == {served.id, started_from.id, kept.id, foreign.id, newest.id}
    assert all((settings.home / model.onnx_uri).exists() for model in (served, pruned, started_from, kept, foreign, newest))
    assert (settings.home / "models" / f"run-saltsalt-{served.training_run_id}" / "control.onnx").exists()
    folder = settings.home / "runs" / str(served.training_run_id)
    assert sorted(path.name for path in folder.iterdir()) == [CLOSED, "spec.json"]

    assert weights_of(pruned, work).read_bytes() == f"weights {pruned.training_run_id}".encode()  # a start from it brings it back

    assert not (settings.home / "models" / f"run-saltsalt-{gone}").exists()
    client = registry._client
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    (run,) = client.search_runs([experiment], filter_string=f"tags.`{KEY}` = 'saltsalt-{gone}'")
    assert run.info.status == "KILLED" and not client.search_model_versions(f"run_id = '{run.info.run_id}'")

    _deploys_once(database, settings, project, registry, newest, served)


def _deploys_once(
    database: Database, settings: Settings, project: Project, registry: Registry, model: ModelVersion, earlier: ModelVersion
) -> None:
    """A run that died between its deployment and its end does not undo what people did meanwhile."""
    with database.write() as session:
        decision = Decision(project_id=project.id, kind="gate", verdict="promote", reasons=[], inputs={})
        session.add(decision)
    deploy(database, settings, model.id, decision.id)
    deploy(database, settings, earlier.id, None)  # somebody takes it back
    deploy(database, settings, model.id, decision.id)
    with database.read() as session:
        serving = newest_deployment(session, project.id)
    assert serving is not None and serving.model_version_id == earlier.id
    assert registry.pointed(settings.model_name) == earlier.version


def _begun(work: Work) -> Work:
    assert jobs._begin(work)
    return work


def _ended(
    database: Database, settings: Settings, project: Project, registry: Registry, status: str, mirrored: bool = True
) -> ModelVersion:
    """A run that ended with a model, its files, and what its trainer left."""
    with database.write() as session:
        run = TrainingRun(project_id=project.id, cause="manual", status="promoted" if status == "promoted" else "kept_champion")
        session.add(run)
        session.flush()
        folder = settings.home / "models" / f"run-saltsalt-{run.id}"
        folder.mkdir(parents=True)
        for name, content in (("model.onnx", "onnx"), ("model.pt", f"weights {run.id}"), ("control.onnx", "control")):
            (folder / name).write_text(content)
        mlflow_run = registry.run(f"saltsalt-{run.id}", "training")
        if mirrored:
            registry.attach(mlflow_run, folder, "weights")
        number = registry.register(mlflow_run, settings.model_name, str(folder), {})
        model = ModelVersion(
            project_id=project.id, name=settings.model_name, version=number, onnx_uri=f"models/run-saltsalt-{run.id}/model.onnx",
            onnx_sha256="0" * 64, weights_uri=f"models/run-saltsalt-{run.id}/model.pt", class_map_id=session.scalars(select(ClassMap.id)).one(),
            training_run_id=run.id, mlflow_run_id=mlflow_run,
        )  # fmt: skip
        session.add(model)
        session.flush()
        run.challenger_id = model.id
        if status == "promoted":
            session.add(Deployment(project_id=project.id, tag="label", model_version_id=model.id, served_as=model.title))
    _scratch(settings, run.id)
    return model


def _cancelled(database: Database, settings: Settings, project: Project, registry: Registry) -> int:
    """A run that was cancelled while its worker was dead, after it had told MLflow of its model."""
    with database.write() as session:
        run = TrainingRun(project_id=project.id, cause="manual", status="cancelled", percent=TRAINED)
        session.add(run)
    folder = settings.home / "models" / f"run-saltsalt-{run.id}"
    folder.mkdir(parents=True)
    mlflow_run = registry.run(f"saltsalt-{run.id}", "cancelled")
    registry.register(mlflow_run, settings.model_name, str(folder), {})
    _scratch(settings, run.id)
    return run.id


def _scratch(settings: Settings, run_id: int) -> None:
    folder: Path = settings.home / "runs" / str(run_id)
    (folder / "fit" / "weights").mkdir(parents=True)
    (folder / "fit" / "weights" / "last.pt").write_text("checkpoint")
    (folder / "spec.json").write_text("{}")
