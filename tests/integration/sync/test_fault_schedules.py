"""Fault schedules against the in-memory twin; see `tests/fixtures/schedule_of_faults.py`.

`make test` runs a sample with a fresh seed, `make prove` a thousand. A failure shrinks and prints its blob; FAULT_SEED repeats a run, and
FAULT_SHRINK=0 saves the time for shrinking, FAULT_SCHEDULES=n runs so many.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labelwheel.settings import Settings
from tests.fixtures.faults import keep, run, world
from tests.fixtures.schedule_of_faults import World
from tests.fixtures.studio import twin_counterpart

SAMPLE, PROOF = 8, 1000


@pytest.fixture
def twin_world(wheel_settings: Settings, empty_database: Path) -> Callable[[], World]:
    """Makes a wheel with an empty database and an empty twin."""
    return lambda: world(wheel_settings, empty_database, twin_counterpart())


def test_a_sample_of_schedules_ends_well(twin_world: Callable[[], World]) -> None:
    found = run(twin_world, SAMPLE, 30, "twin")
    assert found["schedules"] >= SAMPLE


@pytest.mark.prove
@pytest.mark.timeout(7200)
def test_a_thousand_schedules_end_well(twin_world: Callable[[], World]) -> None:
    found = run(twin_world, PROOF, 40, "twin")
    keep("twin", found)
