"""The defaults, held against streams in which nothing changes and streams that lose light.

The same simulation on real boards (DeepPCB, five groups) and on the demo's lines gave: a calm window drifts in 0.1–0.4 %, a
stream of 500 calm captures rings in 0.5–3 %; light × 0.6 drifts in 87–100 % of windows.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from drift.alert import Verdict, decide
from labelwheel.settings import Settings

DEFAULT = {name: Settings.model_fields[name].default for name in ("drift_reference", "drift_window", "drift_threshold", "drift_repeats")}
REFERENCE, WINDOW, THRESHOLD, REPEATS = DEFAULT.values()
STREAMS = {
    "even light": lambda rng, size: rng.normal(130, 8, size),
    "long tail": lambda rng, size: rng.gamma(3, 20, size),
    "two products": lambda rng, size: np.where(rng.random(size) < 0.5, 90, 150) + rng.normal(0, 5, size),
}


def windows_drifted(values: np.ndarray, light_after: int | None = None, light: float = 0.6) -> list[bool]:
    """Verdicts of consecutive windows, oldest first."""
    seen = values.copy()
    if light_after is not None:
        seen[light_after:] *= light
    reference, spread = seen[:REFERENCE], seen[:REFERENCE].std()
    ends = range(REFERENCE + WINDOW, len(seen) + 1, WINDOW // 4)
    return [wasserstein_distance(reference, seen[end - WINDOW : end]) / spread >= THRESHOLD for end in ends]


def rings(drifted: list[bool]) -> bool:
    return any(decide(drifted[: end + 1][::-1], False, REPEATS) is Verdict.RAISE for end in range(len(drifted)))


@pytest.mark.parametrize("name", STREAMS)
def test_calm_streams_seldom_ring(name: str) -> None:
    rng = np.random.default_rng(1)
    streams = [windows_drifted(STREAMS[name](rng, REFERENCE + 500)) for _ in range(150)]
    assert np.mean([drifted for stream in streams for drifted in stream]) < 0.006
    assert np.mean([rings(stream) for stream in streams]) < 0.05


@pytest.mark.parametrize("name", ["even light", "two products"])
def test_failing_light_rings(name: str) -> None:
    assert np.mean([rings(stream) for stream in darkening(name)]) > 0.95


def test_a_loss_smaller_than_the_natural_spread_is_often_missed() -> None:
    """The known limit: the long tail spreads by 58 % of its mean, so that 40 % less light is 0.7 of a deviation."""
    assert 0.2 < np.mean([rings(stream) for stream in darkening("long tail")]) < 0.8


def darkening(name: str) -> list[list[bool]]:
    rng = np.random.default_rng(2)
    return [windows_drifted(STREAMS[name](rng, REFERENCE + 160), light_after=REFERENCE + WINDOW) for _ in range(60)]
