"""A control is due where it can tell something, waits for MLflow however long, and outlives any number of restarts that get on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import ClassMap, Project, TrainingRun, utcnow
from labelwheel.schedule import due_work
from labelwheel.settings import Settings
from retrain import jobs
from retrain.dataset import content
from retrain.run import control
from retrain.run.attempts import MOST_FRUITLESS
from retrain.run.receipt import receipt
from retrain.run.trigger import trigger
from retrain.run.work import Work
from retrain.training import launch, spec
from retrain.training.spec import Progress, Result, Spec
from tests.integration.retrain.conftest import as_if_trained

NEW, OLD = 4, 8
Labels = Callable[..., None]


@pytest.fixture
def work(database: Database, settings: Settings, project: Project, label: Labels) -> Callable[[], Work]:
    """A warm run on all labels that has just ended, as one from another version than the champion is; call it when the labels are there."""
    label(100, 8, "holdout")

    def ended() -> Work:
        run = trigger(database, settings, project.id, "manual")
        made = Work(database, settings, run.id)
        as_if_trained(made, OLD + NEW)
        recipe = spec.read_spec(made.folder)
        assert recipe is not None
        spec.write(made.folder / spec.SPEC, replace(recipe, start="weights.pt"))
        jobs.run(run.id)
        assert made.row().status in ("promoted", "kept_champion"), made.row().error
        return made

    return ended


def _used(database: Database, project: Project) -> None:
    """An earlier run was trained on all labels of this moment."""
    with database.write() as session:
        classes = session.scalars(select(ClassMap)).one()
        chosen = content.plan(session, project.id, classes, replay=None, seed=1)
        stored = content.remember(session, project.id, classes, chosen, "x", "y")
        session.add(TrainingRun(project_id=project.id, status="kept_champion", cause="manual", dataset_id=stored.id, finished_at=utcnow()))


def _trainer(work: Work, until: tuple[float, ...] = (), dies: bool = False) -> Callable[..., Result]:
    """A trainer that tells of its progress up to there, and ends, or dies."""

    def launched(recipe: Spec, wanted: Callable[[Progress | None], bool]) -> Result:
        spec.write(Path(recipe.folder) / spec.SPEC, recipe)
        for percent in until:
            assert wanted(Progress(percent, 1, 2, None, {}))
        if dies:
            raise RuntimeError("The trainer was killed.")
        return Result("last.pt", str(work.models / "model.onnx"), 2, 8, 1.0, False)

    return launched


@pytest.mark.usefixtures("mlflow")
def test_a_run_on_all_labels_is_compared_with_one_on_the_old_ones_among_them(
    database: Database, settings: Settings, project: Project, label: Labels, work: Callable[[], Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    label(0, OLD, "train")
    _used(database, project)
    label(OLD, NEW, "train")
    run = work()
    assert run.row().control == {"state": "due"}
    monkeypatch.setattr(launch, "launch", _trainer(run))
    away = Work(database, settings.model_copy(update={"mlflow_uri": "http://127.0.0.1:1"}), run.run_id)
    with monkeypatch.context() as gone:
        gone.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        gone.setattr(control, "score", lambda *_: pytest.fail("nothing is scored in vain"))
        for _ in range(2 * MOST_FRUITLESS):
            control.run_control(away)
            waiting = run.row().control or {}
            assert (waiting["state"], waiting["attempts"]) == ("due", 0) and "MLflow did not take the control" in waiting["error"]
            with database.read() as session:
                assert ("retrain.control", run.run_id) in list(due_work(session, settings, utcnow()))
    jobs.control(run.run_id)
    outcome = run.row().control or {}
    assert (outcome["state"], outcome["train_images"]) == ("done", OLD), outcome
    with database.read() as session:
        found = receipt(session, project.id, run.run_id, settings)
    assert found["labels"]["images"] == NEW and found["over_control"]["gain"] == 0


@pytest.mark.parametrize(
    ("used", "why"), [(False, "all labels that it was trained on are new"), (True, "all labels that it was trained on are old")]
)
@pytest.mark.usefixtures("mlflow")
def test_where_a_control_could_tell_nothing_none_is_due_and_the_receipt_says_why(
    database: Database, settings: Settings, project: Project, label: Labels, work: Callable[[], Work], used: bool, why: str
) -> None:
    label(0, OLD, "train")
    if used:
        _used(database, project)
    run = work()
    assert run.row().control == {"state": "none", "why": why}
    with database.read() as session:
        assert ("retrain.control", run.run_id) not in list(due_work(session, settings, utcnow()))
        assert f"No control was trained, for {why}" in " ".join(receipt(session, project.id, run.run_id, settings)["caveats"])


@pytest.mark.usefixtures("mlflow")
def test_attempts_that_got_on_are_forgiven_and_others_are_not(
    database: Database, project: Project, label: Labels, work: Callable[[], Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    label(0, OLD, "train")
    _used(database, project)
    label(OLD, NEW, "train")
    run = work()
    for percent in range(6, 36, 6):  # a restart of the host at each of them
        monkeypatch.setattr(launch, "launch", _trainer(run, (percent - 6.0, float(percent)), dies=True))
        jobs.control(run.run_id)
        assert _state(run) == "due"
    for _ in range(MOST_FRUITLESS):  # at the same place again and again
        assert _state(run) == "due"
        jobs.control(run.run_id)
    jobs.control(run.run_id)
    assert run.row().control == {"state": "failed", "error": "The trainer was killed."}
    assert not (run.folder / "control").exists()


def _state(work: Work) -> Any:
    return (work.row().control or {})["state"]
