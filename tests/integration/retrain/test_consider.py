"""Policy ticks on a real database: what they store, and what the API shows of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import Decision, Project, TrainingRun
from labelwheel.errors import ConflictError
from labelwheel.settings import Settings
from retrain import jobs
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


def _decisions(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Decision.verdict).where(Decision.kind == "policy").order_by(Decision.id)))


def _statuses(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(TrainingRun.status).order_by(TrainingRun.id)))
