"""Fault schedules against the in-memory twin; see `tests/fixtures/schedule_of_faults.py`.

`make test` runs a sample with a fresh seed, `make prove` a thousand. A failure shrinks and prints its blob; FAULT_SEED repeats a run, and
FAULT_SHRINK=0 saves the time for shrinking.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import get_state_machine_test

from labelwheel.database import get_database, migrate
from labelwheel.project import remember_project
from labelwheel.settings import PREFIX, Settings, get_settings
from ml_backend.app import create_app
from tests.fixtures import figures
from tests.fixtures.line import BOUNDS, LABELS, Line, line_settings
from tests.fixtures.schedule_of_faults import FaultSchedule, Tally, World
from tests.fixtures.studio import Counterpart, twin_counterpart

SAMPLE, PROOF = 8, 1000


@pytest.fixture
def wheel_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv(PREFIX + "HOME", str(tmp_path))
    get_settings.cache_clear()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield line_settings(tmp_path, database_url=f"sqlite:///{tmp_path / 'wheel.db'}", push_chunk=3, **BOUNDS)
    structlog.reset_defaults()


@pytest.fixture
def twin_world(wheel_settings: Settings, tmp_path: Path) -> Callable[[], World]:
    """Makes a wheel with an empty database and an empty twin."""
    empty = tmp_path / "empty.db"
    migrate(f"sqlite:///{empty}")
    return lambda: world(wheel_settings, empty, twin_counterpart())


def world(wheel: Settings, empty: Path, counterpart: Counterpart) -> World:
    database = get_database(wheel.database_url)
    database.dispose()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{wheel.home / 'wheel.db'}{suffix}").unlink(missing_ok=True)
    shutil.copy(empty, wheel.home / "wheel.db")
    with database.write() as session:
        there = counterpart.project
        project = remember_project(session, wheel.label_studio_name, there.id, wheel.label_studio_project, there.label_config, LABELS)
    return World(Line(wheel, database, project, create_app(wheel)), counterpart)


def run(make_world: Callable[[], World], schedules: int, steps: int, name: str) -> dict[str, object]:
    """Run so many schedules; what they met. Prints the seed, by which FAULT_SEED repeats them."""
    number = int(os.environ.get("FAULT_SEED") or secrets.randbelow(2**32))
    print(f"{name}: FAULT_SEED={number}")
    machine = type("Schedule", (FaultSchedule,), {"make_world": staticmethod(make_world), "tally": Tally()})
    phases = (Phase.explicit, Phase.generate, *([] if os.environ.get("FAULT_SHRINK") == "0" else [Phase.shrink]))
    wanted = settings(
        max_examples=schedules, stateful_step_count=steps, deadline=None, database=None, phases=phases, print_blob=True,
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
    started = time.monotonic()
    seed(number)(machine)
    get_state_machine_test(machine, settings=wanted)()
    tally: Tally = machine.tally  # type: ignore[attr-defined]
    return {
        "seed": number, "schedules": tally.schedules, "jobs": tally.jobs, "seconds": round(time.monotonic() - started, 1),
        "failures": 0, "met": dict(sorted(tally.met.items())),
    }  # fmt: skip


def test_a_sample_of_schedules_ends_well(twin_world: Callable[[], World]) -> None:
    found = run(twin_world, SAMPLE, 30, "twin")
    print(found)
    assert found["schedules"] >= SAMPLE


@pytest.mark.prove
def test_a_thousand_schedules_end_well(twin_world: Callable[[], World]) -> None:
    found = run(twin_world, PROOF, 40, "twin")
    figures.write("prove/faults.json", found)
