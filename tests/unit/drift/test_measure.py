"""What cannot be measured is refused in words before a statistics library sees it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from drift.measure import measure, obstacle, summarize


@pytest.mark.parametrize(
    ("reference", "window", "reason"),
    [
        ([1.0, 2.0] * 5, [1.0, 2.0] * 5, None),
        ([1.0, 2.0] * 5, [7.0] * 10, None),
        ([1.0, 2.0] * 4, [1.0, 2.0] * 5, "fewer than 10 values"),
        ([1.0, 2.0] * 5, [], "fewer than 10 values"),
        ([5.0] * 10, [1.0, 2.0] * 5, "the reference is constant"),
    ],
)
def test_obstacles(reference: list[float], window: list[float], reason: str | None) -> None:
    assert obstacle(reference, window) == reason


def test_measure_refuses_what_has_an_obstacle() -> None:
    with pytest.raises(ValueError, match="constant"):
        measure("brightness", [5.0] * 10, [1.0] * 10, 0.8)


def test_summary_is_mean_and_population_deviation() -> None:
    assert summarize([1.0, 3.0]) == {"mean": 2.0, "std": 1.0}


def test_the_job_module_loads_without_evidently_or_pandas() -> None:
    code = "import sys, drift.jobs, drift.metrics; print([name for name in ('evidently', 'pandas') if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
