"""`conditions`, `retrain`, `runs`, `cancel`, `receipt`, `models` and `down` as a person types them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from console import retraining
from console.cli import app as command
from labelwheel.database import Database
from labelwheel.database.tables import Project, TrainingRun, utcnow
from labelwheel.errors import ConflictError, InputError, NotFoundError
from labelwheel.settings import PREFIX, Settings, get_settings
from tests.fixtures import wheel


@pytest.fixture(autouse=True)
def _settings(settings: Settings, filled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands read their settings from the environment."""
    for name, value in {"HOME": settings.home, "LABEL_STUDIO_URL": wheel.LABEL_STUDIO, "REDIS_URL": settings.redis_url}.items():
        monkeypatch.setenv(PREFIX + name, str(value))
    get_settings.cache_clear()


def told(*words: str) -> Any:
    result = CliRunner().invoke(command, [*words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def said(*words: str) -> str:
    result = CliRunner().invoke(command, [*words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def refused(*words: str) -> BaseException | None:
    return CliRunner().invoke(command, [*words]).exception


def test_a_dry_run_says_what_and_starts_nothing(database: Database) -> None:
    found = told("retrain", "--dry-run", "--updates", "16")
    assert (found["start"], found["updates"], found["seconds"]) == ("labelwheel@2", 15, None)
    assert found["images"] == {"holdout": 5, "train": 38} and found["new_labels"] == 38
    assert found["by_source"]["line-a"] == {"holdout": 2, "train": 13}
    assert found["conditions"]["should_retrain"] is False
    words = said("retrain", "--dry-run", "--from", "scratch")
    assert "From scratch (yolov8n)" in words and "not known: nothing was trained here yet" in words
    unknown = refused("retrain", "--dry-run", "--from", "scratch", "--architecture", "foo")
    assert isinstance(unknown, InputError) and "--architecture" in unknown.message and "yolo11n/s/m/l/x" in unknown.message
    brought = refused("retrain", "--dry-run", "--architecture", "yolo11s")
    assert isinstance(brought, InputError) and "labelwheel@2 bring" in brought.message and "--from scratch" in brought.cure
    assert "38 of 50 new training labels" in said("conditions") and "Nothing calls for a training yet." in words
    assert len(_runs(database)) == 2


def test_what_the_policy_would_not_train_is_not_trained_unasked(database: Database) -> None:
    error = refused("retrain")
    assert isinstance(error, InputError) and "Nothing calls for a training yet." in error.message and "--yes" in error.cure
    assert len(_runs(database)) == 2
    started = told("retrain", "--yes", "--note", "after the rebuild", "--updates", "80")
    assert (started["status"], started["cause"]) == ("queued", "manual")
    assert started["request"] | {"who": ""} == {"updates": 80, "note": "after the rebuild", "who": ""}
    assert isinstance(refused("retrain", "--yes"), ConflictError)
    assert f"Training {started['id']} is interrupted at 0 %" in retraining.interrupted(get_settings())
    assert f"Training {started['id']} is cancelled" in said("cancel", "--why", "wrong labels")
    assert "wrong labels" in (_runs(database)[-1].error or "")
    assert isinstance(refused("cancel"), NotFoundError)
    assert retraining.interrupted(get_settings()) == ""


@pytest.mark.parametrize(("status", "code"), [("kept_champion", 0), ("failed", 1)])
def test_waiting_ends_with_the_run(database: Database, monkeypatch: pytest.MonkeyPatch, status: str, code: int) -> None:
    monkeypatch.setattr(retraining, "LOOK_SECONDS", 0.05)
    worker = Thread(target=_work, args=(database, status))
    worker.start()
    result = CliRunner().invoke(command, ["retrain", "--yes", "--wait"])
    worker.join()
    assert (result.exit_code, status.replace("_", " ") in result.output) == (code, True), result.output


def test_a_pause_is_seen_and_ended() -> None:
    said("pause", "retraining", "--why", "Stocktaking.")
    assert "Retraining was paused by" in said("conditions")
    said("resume", "retraining")
    assert "paused" not in said("conditions")


def test_models_are_listed_and_traced() -> None:
    rows = told("models")
    assert [(row["version"], row["champion"], row["map50"]) for row in rows] == [
        ("labelwheel@2", True, None),
        ("labelwheel@1", False, None),
    ]
    assert "★" in said("models")
    found = told("models", "show", "2")
    assert (found["training"]["run"], found["classes"]) == (2, {"0": "scratch", "1": "dent"})
    assert [file["sha256"] for file in found["files"]] == [None, None]
    words = said("models", "show", "labelwheel@1")
    assert "training 1: cold_start" in words and "not on this disk" in words and "deployed" in words
    assert isinstance(refused("models", "show", "9"), NotFoundError)


def test_trainings_are_listed_with_what_came_of_them() -> None:
    assert [(run["id"], run["status"], run["cause"]) for run in told("runs")] == [
        (2, "promoted", "new_labels"),
        (1, "promoted", "cold_start"),
    ]
    assert [run["id"] for run in told("runs", "--limit", "1")] == [2]
    words = said("runs", "--limit", "1")
    assert "2 promoted new_labels 2 h ago 31" in words and "0.418 → 0.563" in words
    assert "Only the first 1" in words and "Only" not in said("runs")
    for verb in ("receipt", "cancel"):
        error = refused(verb, "9")
        assert isinstance(error, NotFoundError) and "`labelwheel runs`" in error.cure


def test_a_receipt_is_told() -> None:
    assert told("receipt", "2")["lines"][0] in said("receipt", "2")
    assert isinstance(refused("receipt", "9"), NotFoundError)


def _work(database: Database, status: str) -> None:
    _until(lambda: _runs(database)[-1].status == "queued")
    with database.write() as session:
        run = session.scalars(select(TrainingRun).where(TrainingRun.status == "queued")).one()
        run.status, run.finished_at, run.error = status, utcnow(), "It broke."


def _runs(database: Database) -> list[TrainingRun]:
    with database.read() as session:
        return list(session.scalars(select(TrainingRun).order_by(TrainingRun.id)))


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)
