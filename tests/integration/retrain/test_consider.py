"""Policy ticks on a real database: what they store, and what the API shows of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import (
    DEFAULT_TAG,
    Alert,
    ClassMap,
    Dataset,
    Decision,
    Deployment,
    DriftReport,
    ModelVersion,
    Project,
    TrainingRun,
    utcnow,
)
from labelwheel.errors import ConflictError
from labelwheel.pause import RETRAINING, pause
from labelwheel.project import change_classes, grow_class_map
from labelwheel.settings import Settings, get_settings
from labelwheel.vision.class_change import remove, rename
from retrain import jobs, policy
from retrain.run import status
from retrain.run.attempts import MOST_FRUITLESS
from retrain.run.trigger import cancel, trigger


def test_a_tick_without_news_stores_nothing(database: Database, project: Project, label: Callable[..., None]) -> None:
    for _ in range(3):
        jobs.consider()
    assert _decisions(database) == ["wait"]
    label(0, 1, "train")
    jobs.consider()
    jobs.consider()
    assert _decisions(database) == ["wait", "wait"]


def test_a_due_run_is_triggered_once(database: Database, settings: Settings, project: Project, label: Callable[..., None]) -> None:
    label(0, 18, "train")
    label(100, 2, "holdout")
    for _ in range(3):
        jobs.consider()
    with database.read() as session:
        runs = session.scalars(select(TrainingRun)).all()
        assert [(run.status, run.cause) for run in runs] == [("queued", "cold_start")]
        told = status.conditions(session, project, settings)
        shown = status.status(session, project, settings)
    assert told["should_retrain"] is False  # it is under way
    assert {reason["code"]: reason["met"] for reason in told["reasons"]} == {
        "idle": False,
        "first_labels": True,
        "cooldown": True,
        "settled": True,
        "changed": True,
    }
    assert (shown["state"], shown["run"], shown["new_labels"], shown["last_run"]) == ("queued", 1, 18, None)


def test_a_cancelled_run_makes_room_and_a_failed_one_is_not_repeated_for_the_same_labels(
    database: Database, settings: Settings, project: Project, label: Callable[..., None]
) -> None:
    label(0, 20, "train")
    run = trigger(database, settings, project.id, "manual")
    with pytest.raises(ConflictError, match="already running"):
        trigger(database, settings, project.id, "manual")
    assert cancel(database, run.id) and not cancel(database, run.id)
    jobs.run(run.id)  # rung before it was cancelled: nothing happens
    second = trigger(database, settings, project.id, "manual")
    with database.write() as session:
        session.get_one(TrainingRun, second.id).status = "failed"
    jobs.consider()
    assert _statuses(database) == ["cancelled", "failed"]
    label(50, 1, "train")
    jobs.consider()
    assert _statuses(database) == ["cancelled", "failed", "queued"]


def test_a_cause_has_one_turn_on_the_same_labels(
    database: Database, settings: Settings, project: Project, label: Callable[..., None]
) -> None:
    label(0, 20, "train")
    jobs.consider()
    assert cancel(database, 1, "anna", "not now")
    jobs.consider()
    with database.read() as session:
        told = policy.conditions(session, project, settings)
    assert _statuses(database) == ["cancelled"]
    assert "was cancelled on these same labels" in told["told"]
    label(30, 1, "train")
    jobs.consider()
    assert _statuses(database) == ["cancelled", "queued"]


def test_a_drifted_source_names_itself_and_is_trained_for_before_the_rest(
    database: Database, settings: Settings, project: Project, label: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELWHEEL_DRIFT_NEW_LABELS", "3")
    monkeypatch.setenv("LABELWHEEL_MIN_NEW_LABELS", "50")
    get_settings.cache_clear()
    label(0, 6, "train")  # before the alert: two of each line
    _champion(database, project)
    _raise_alert(database, project, "line-1")
    label(6, 6, "train")
    jobs.consider()
    assert _runs(database) == []  # two of line-1 have come since
    label(13, 1, "train")
    label(100, 3, "holdout")
    jobs.consider()
    assert _runs(database) == [("queued", "drift", {"source": "line-1"})]
    with database.read() as session:
        stored = session.scalars(select(Decision).where(Decision.verdict == "retrain")).one()
        verdict = policy.replay(stored.inputs)
        assert session.get_one(TrainingRun, 1).decision_id == stored.id
    assert (verdict.fire, verdict.cause, verdict.slice) == (True, "drift", {"source": "line-1"})
    assert [reason.as_dict() for reason in verdict.reasons] == stored.reasons


def test_classes_count_under_todays_names(
    database: Database, settings: Settings, project: Project, label: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELWHEEL_FIRST_CLASS_LABELS", "8")
    get_settings.cache_clear()
    label(0, 20, "train")  # ten of each class
    with database.write() as session:
        grow_class_map(session, project.id, ["disc", "square", "dust"], "<View/>")
    jobs.consider()
    assert _runs(database) == [], "dust has none"
    with database.write() as session:
        change_classes(session, project.id, lambda classes: remove(classes, "dust"), "anna", "")
        change_classes(session, project.id, lambda classes: rename(classes, "disc", "ring"), "anna", "")
    with database.read() as session:
        state = policy.observe(session, project, get_settings(), utcnow())
    assert {name: news.new for name, news in state.classes.items()} == {"ring": 10, "square": 10}
    jobs.consider()
    assert _runs(database) == [("queued", "cold_start", None)]


def test_a_renamed_class_is_no_weak_one(database: Database, settings: Settings, project: Project, label: Callable[..., None]) -> None:
    _champion(database, project)
    with database.write() as session:
        maps = session.scalars(select(ClassMap.id).where(ClassMap.project_id == project.id)).first()
        counts = {"boxes": {"disc": 40, "square": 40}}
        session.add(Dataset(project_id=project.id, content_hash="c", path="p", dvc_hash="d", class_map_id=maps, counts=counts))
        session.flush()
        champion = session.scalars(select(ModelVersion.id)).one()
        scores = {"challenger": {"per_class": {"disc": 0.9, "square": 0.7}}}
        session.add(
            TrainingRun(project_id=project.id, status="promoted", cause="manual", dataset_id=1, challenger_id=champion, metrics=scores)
        )
        change_classes(session, project.id, lambda classes: rename(classes, "disc", "ring"), "anna", "")
    with database.read() as session:
        classes = policy.observe(session, project, settings, utcnow()).classes
    assert {name: (news.ap, news.trained) for name, news in classes.items()} == {"ring": (0.9, True), "square": (0.7, True)}


def test_what_was_spent_and_who_paused_is_seen(database: Database, settings: Settings, project: Project) -> None:
    now = utcnow()
    rows = [(timedelta(hours=1), {"training": {"seconds": 60}}, {"seconds": 30}), (timedelta(days=2), {"training": {"seconds": 100}}, None)]
    with database.write() as session:
        for ago, metrics, control in rows:
            run = TrainingRun(project_id=project.id, status="kept_champion", cause="manual", metrics=metrics, control=control)
            run.finished_at = now - ago
            session.add(run)
        died = TrainingRun(project_id=project.id, status="failed", cause="manual", metrics={})
        died.created_at, died.heartbeat_at, died.finished_at = now - timedelta(seconds=50), now - timedelta(seconds=10), now
        session.add(died)
        pause(session, project.id, RETRAINING, "anna", "Stocktaking.")
    with database.read() as session:
        state = policy.observe(session, project, settings, now)
    assert (state.spent_day, state.spent_week) == (130, 230)
    assert "Retraining was paused by anna" in (state.paused or "")


def test_start_training_needs_a_label_and_no_policy(database: Database, project: Project, label: Callable[..., None]) -> None:
    jobs.start()
    assert _statuses(database) == []
    label(0, 1, "train")
    jobs.start()
    jobs.start()
    assert _statuses(database) == ["queued"]


def test_the_attempts_of_a_run_that_dies_without_a_word_are_counted(database: Database, settings: Settings, project: Project) -> None:
    run = trigger(database, settings, project.id, "manual")
    with database.write() as session:
        session.get_one(TrainingRun, run.id).attempts = MOST_FRUITLESS
    jobs.run(run.id)
    with database.read() as session:
        ended = session.get_one(TrainingRun, run.id)
    assert ended.status == "failed" and "interrupted 3 times" in (ended.error or "")


def _champion(database: Database, project: Project) -> None:
    with database.write() as session:
        classes = session.scalars(select(ClassMap)).one()
        model = ModelVersion(
            project_id=project.id, name="labelwheel", version=1, onnx_uri="m.onnx", onnx_sha256="0" * 64, weights_uri="m.pt",
            class_map_id=classes.id,
        )  # fmt: skip
        session.add(Deployment(project_id=project.id, tag=DEFAULT_TAG, model_version=model, served_as="labelwheel@1"))


def _raise_alert(database: Database, project: Project, source: str) -> None:
    with database.write() as session:
        report = DriftReport(
            project_id=project.id, source=source, feature="brightness", method="wasserstein", score=1.2, threshold=0.8, drifted=True,
            reference_size=40, window_size=40, last_capture_id=1, summary={},
        )  # fmt: skip
        session.add(report)
        session.flush()
        session.add(Alert(project_id=project.id, drift_report_id=report.id, source=source, feature="brightness", message="It is dark."))


def _runs(database: Database) -> list[tuple[str, str, dict[str, str] | None]]:
    with database.read() as session:
        return [(run.status, run.cause, run.slice) for run in session.scalars(select(TrainingRun).order_by(TrainingRun.id))]


def _decisions(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Decision.verdict).where(Decision.kind == "policy").order_by(Decision.id)))


def _statuses(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(TrainingRun.status).order_by(TrainingRun.id)))
