"""Doctor on homes where something is missing: each fault has its name and its cure."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from console import doctor
from console.doctor import examine
from console.up import ProgramState
from labelwheel.database import Database
from labelwheel.database.tables import Tick, utcnow
from labelwheel.settings import Settings
from tests.fixtures.wheel import migrated, settings_for


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home whose servers and queue do not run."""
    nobody = "http://127.0.0.1:9"
    return settings_for(tmp_path, ml_backend_url=nobody, console_url=nobody)


def codes(settings: Settings) -> set[str]:
    found = examine(settings)
    assert all(fault.message and fault.cure for fault in found)
    return {fault.code for fault in found}


def ticked(database: Database, seconds_ago: float) -> None:
    with database.write() as session:
        session.add(Tick(name="sweep", fire_time=utcnow() - timedelta(seconds=seconds_ago)))


def test_without_a_database_that_alone_is_said(settings: Settings) -> None:
    assert codes(settings) == {"database"}


def test_everything_that_does_not_run_is_named(settings: Settings) -> None:
    migrated(settings).dispose()
    assert codes(settings) == {"queue_unreachable", "no_scheduler", "ml_backend_down", "console_down", "not_connected"}


@pytest.mark.parametrize(("seconds_ago", "silent"), [(5, False), (3600, True)])
def test_a_scheduler_is_known_by_its_ticks(settings: Settings, seconds_ago: float, silent: bool) -> None:
    database = migrated(settings)
    ticked(database, seconds_ago)
    assert ("no_scheduler" in codes(settings)) is silent


@pytest.mark.parametrize(
    ("state", "seconds", "said"),
    [("RUNNING", 3, "starting"), ("STARTING", 0, "starting"), ("RUNNING", 600, "silent"), ("BACKOFF", 0, "silent"), ("FATAL", 0, "silent")],
)
def test_what_up_has_just_started_is_no_fault(
    tmp_path: Path, valkey_url: str, monkeypatch: pytest.MonkeyPatch, state: str, seconds: int, said: str
) -> None:
    nobody = "http://127.0.0.1:9"
    settings = settings_for(tmp_path, ml_backend_url=nobody, console_url=nobody, redis_url=valkey_url)
    migrated(settings).dispose()
    programs = [ProgramState(name, state, 7, seconds, "") for name in ("worker-fast", "worker-training", "scheduler")]
    monkeypatch.setattr(doctor, "status", lambda _settings: programs)
    found = [(fault.code, fault.broken) for fault in examine(settings) if fault.code in ("starting", "no_worker", "no_scheduler")]
    assert found == ([("starting", False)] * 3 if said == "starting" else [("no_worker", True)] * 2 + [("no_scheduler", True)])
