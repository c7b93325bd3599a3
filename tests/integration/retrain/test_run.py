"""The whole room for real: SQLite, DVC, a trainer process that is killed once, ONNX Runtime, MLflow."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import func, select

from labelwheel.database import Database
from labelwheel.database.tables import ClassMap, Dataset, DatasetItem, Decision, Deployment, ModelVersion, Project, TrainingRun
from labelwheel.errors import ConflictError, NotFoundError
from labelwheel.project import change_classes
from labelwheel.registry import EXPERIMENT, KEY, Registry
from labelwheel.schedule import due_work
from labelwheel.serving import load, newest_deployment
from labelwheel.settings import Settings
from labelwheel.vision.class_change import rename
from retrain import jobs
from retrain.dataset.version import restore
from retrain.model.deploy import deploy, rollback
from retrain.run import status
from retrain.run.receipt import receipt
from retrain.run.trigger import trigger
from retrain.training.spec import read_progress
from tests.fixtures.shapes import LABELS, draw
from tests.integration.retrain.conftest import command_of


@pytest.mark.usefixtures("mlflow")
def test_from_labels_to_a_served_model_through_a_kill(
    database: Database, settings: Settings, project: Project, label: Callable[..., None]
) -> None:
    label(0, 16, "train")
    label(100, 8, "holdout")
    label(200, 2, "quarantined")
    jobs.consider()
    run = _run(database, 1)
    assert (run.status, run.cause) == ("queued", "cold_start")
    with pytest.raises(ConflictError):
        trigger(database, settings, project.id, "manual")

    killer = threading.Thread(target=_kill_trainer_after_an_epoch, args=(settings.home / "runs" / "1",))
    killer.start()
    jobs.run(1)
    killer.join()
    stumbled = _run(database, 1)
    assert stumbled.status == "training" and "was killed" in (stumbled.error or "")
    with database.read() as session:
        assert ("retrain.run", 1) in list(due_work(session, settings, stumbled.created_at))

    jobs.run(1)
    ended = _run(database, 1)
    assert ended.status == "promoted", ended.error
    assert ended.metrics["training"]["resumed"] is True
    told = ended.metrics["training"]["history"]
    assert (told[0]["epoch"], told[-1]["epoch"]) == (1, ended.metrics["training"]["epochs"]) and told[0]["train/box_loss"] > 0
    assert ended.metrics["challenger"]["map50"] > 0
    assert ended.metrics["challenger"]["images"] == 8
    _assert_served(database, settings, project)
    _assert_mirrored(settings, ended)
    _assert_nothing_changes(database, 1)
    _assert_restorable(database, settings, ended)

    with database.write() as session:
        change_classes(session, project.id, lambda classes: rename(classes, LABELS[0], "ring"), "anna", "as in the inspection plan")
    label(300, 8, "train")
    jobs.consider()
    warm = _run(database, 2)
    assert warm.cause == "new_labels"
    jobs.run(2)
    warm = _run(database, 2)
    assert warm.status in ("promoted", "kept_champion"), warm.error
    assert warm.metrics["training"]["warm"] is True
    assert _splits(database, warm) == {"train": 8, "replay": 8, "holdout": 8}
    assert warm.metrics["champion"]["map50"] == pytest.approx(ended.metrics["challenger"]["map50"]), "a name is no new class"
    _assert_class_was_renamed(database, ended, warm)
    assert warm.control == {"state": "due"}
    jobs.control(2)
    control = _run(database, 2).control or {}
    assert control["state"] == "done", control
    assert control["updates"] == warm.metrics["training"]["updates"]
    assert control["images"] == 8
    _assert_receipt(database, project, settings, warm, control)

    jobs.consider()  # its labels are used: nothing is due
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(TrainingRun)) == 2
        assert status.status(session, project, settings)["new_labels"] == 0
    _assert_rollback(database, settings, project)


def _assert_class_was_renamed(database: Database, before: TrainingRun, after: TrainingRun) -> None:
    with database.read() as session:
        earlier, later = (session.get_one(Dataset, run.dataset_id) for run in (before, after))
        maps = [session.get_one(ClassMap, dataset.class_map_id).labels for dataset in (earlier, later)]
        assert maps == [list(LABELS), ["ring", *LABELS[1:]]]
        assert earlier.holdout == later.holdout, "scores on it still compare"
        assert LABELS[0] not in later.counts["boxes"] and later.counts["boxes"]["ring"] > 0


def _assert_receipt(database: Database, project: Project, settings: Settings, warm: TrainingRun, control: dict[str, Any]) -> None:
    with database.read() as session:
        found = receipt(session, project.id, warm.id, settings)
        with pytest.raises(NotFoundError):
            receipt(session, project.id, 99, settings)
    assert found["labels"] == {"images": 8, "boxes": 8, "background": 0, "seconds": 0, "timed_images": 0}
    assert found["scores"] == {
        "before": warm.metrics["champion"]["map50"], "after": warm.metrics["challenger"]["map50"], "control": control["map50"],
    }  # fmt: skip
    ahead = found["over_control"]
    assert ahead["gain"] == pytest.approx(found["scores"]["after"] - control["map50"], abs=1e-4)
    assert ahead["gain"] == pytest.approx(control["against"]["gain"], abs=2e-4)
    assert ahead["lower"] <= control["against"]["gain"] <= ahead["upper"]
    assert {row["name"]: row["images"] for row in found["per_source"]} == {"line-0": 3, "line-1": 3, "line-2": 2}
    assert sum(row["images"] for row in found["per_class"]) == 8


def test_a_run_without_labels_fails_once_and_says_why(database: Database, settings: Settings, project: Project) -> None:
    run = trigger(database, settings, project.id, "manual")
    jobs.run(run.id)
    failed = _run(database, run.id)
    assert (failed.status, failed.attempts) == ("failed", 1)
    assert "no approved label" in (failed.error or "")
    trigger(database, settings, project.id, "manual")  # a failed run does not block the next


def _kill_trainer_after_an_epoch(folder: Path) -> None:
    """As the kernel's memory killer does: no warning, in the middle of an epoch."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        pids = [child.pid for child in psutil.Process().children() if str(folder) in command_of(child)]
        progress = read_progress(folder)
        if pids and progress and progress.epoch >= 3:
            os.kill(pids[0], signal.SIGKILL)
            return
        time.sleep(0.1)


def _run(database: Database, run_id: int) -> TrainingRun:
    with database.read() as session:
        return session.get_one(TrainingRun, run_id)


def _splits(database: Database, run: TrainingRun) -> dict[str, int]:
    query = select(DatasetItem.split, func.count()).where(DatasetItem.dataset_id == run.dataset_id).group_by(DatasetItem.split)
    with database.read() as session:
        return dict(session.execute(query).tuples().all())


def _assert_served(database: Database, settings: Settings, project: Project) -> None:
    with database.read() as session:
        row = newest_deployment(session, project.id)
        assert row is not None and row.model_version.version == 1
        assert row.served_as.startswith("labelwheel@1+")
    served = load(row, settings)
    assert served.detector.labels == ("disc", "square")
    shown = [(served.detector.detect(pixels), box["label"]) for pixels, box in map(draw, range(100, 108))]
    assert all(seen.embedding is not None and seen.embedding.shape == (256,) for seen, _ in shown)
    # So short a training sees some of the holdout only, and its seed is fresh; its mAP50 above 0 promises one.
    assert any(detection.label == label for seen, label in shown for detection in seen.detections)


def _assert_mirrored(settings: Settings, run: TrainingRun) -> None:
    registry = Registry(settings.mlflow_uri, settings.home / "mlflow" / "artifacts")
    experiment = registry._client.get_experiment_by_name(EXPERIMENT)
    found = registry._client.search_runs([experiment.experiment_id])
    assert [(item.info.run_id, item.info.status, item.data.tags[KEY]) for item in found] == [(run.mlflow_run_id, "FINISHED", "saltsalt-1")]
    assert found[0].data.tags["labelwheel.reviewers"] == "anna@plant.example"
    assert len(registry._client.get_metric_history(run.mlflow_run_id, "train/box_loss")) == run.metrics["training"]["epochs"]
    assert registry.pointed(settings.model_name) == 1
    pictures = {Path(item.path).name for item in registry._client.list_artifacts(run.mlflow_run_id, "plots")}
    assert pictures == {"losses.png", "precision-recall.png", "confusion.png"}
    assert found[0].data.params["ultralytics/fliplr"] == "0.5" and found[0].data.params["updates"] == "200"
    assert not Path("mlflow.db").exists() and not Path("mlruns").exists()


def _assert_nothing_changes(database: Database, run_id: int) -> None:
    tables = (ModelVersion, Deployment, Decision, TrainingRun)
    with database.read() as session:
        before = [session.scalar(select(func.count()).select_from(table)) for table in tables]
    row = _run(database, run_id)
    jobs.run(run_id)
    with database.read() as session:
        assert [session.scalar(select(func.count()).select_from(table)) for table in tables] == before
    again = _run(database, run_id)
    assert (again.attempts, again.finished_at, again.metrics) == (row.attempts, row.finished_at, row.metrics)


def _assert_restorable(database: Database, settings: Settings, run: TrainingRun) -> None:
    with database.read() as session:
        content_hash = session.get_one(Dataset, run.dataset_id).content_hash
    folder = settings.home / "datasets" / content_hash
    assert not folder.exists()
    restore(settings.home / "datasets", content_hash)
    assert len(list((folder / "images/train").iterdir())) == 16
    assert len(list((folder / "images/holdout").iterdir())) == 8
    assert not list(folder.rglob("*.cache"))


def _assert_rollback(database: Database, settings: Settings, project: Project) -> None:
    with database.read() as session:
        second = session.scalars(select(ModelVersion).order_by(ModelVersion.version.desc())).first()
    assert second is not None
    deployed = deploy(database, settings, second.id, None)
    assert deploy(database, settings, second.id, None).id == deployed.id
    back = rollback(database, settings, project.id, "Too many false alarms.")
    assert back.served_as.startswith("labelwheel@1+")
    assert Registry(settings.mlflow_uri, settings.home).pointed(settings.model_name) == 1
