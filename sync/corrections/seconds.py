"""How many seconds each act of a reviewer takes, from the time that whole annotations took: pure, and replayable.

An annotation's seconds are taken as a sum: looking at the image, and so much for each box kept, moved, relabelled, deleted or drawn.
The sums are solved by least squares without negative seconds. While there are few annotations, what is known from the literature counts
like a few more: 7 s to draw a box by its extreme points (Papadopoulos et al. 2017), some 1.7 s to judge one (the same, 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sync.corrections.correct import OUTCOMES

Floats = npt.NDArray[np.float64]

ACTS = ("image", *OUTCOMES)
PRIOR = (3.0, 0.5, 4.0, 3.0, 1.7, 7.0)  # seconds of each act
PRIOR_COUNT = 5.0  # annotations that the prior of each act counts like
PASSES = 500  # of coordinate descent, which has settled long before
COFFEE = 3.0  # so many quartile ranges above the upper quartile nobody was at work
LEAST = 10  # annotations below which no quartile says anything


@dataclass(frozen=True, slots=True)
class Timed:
    """One annotation: its seconds, and how often each of `OUTCOMES` occurred."""

    seconds: float
    counts: tuple[int, ...]


def fit(timed: Sequence[Timed]) -> Floats:
    """Seconds of each of `ACTS`, none below 0; the prior's while there is no annotation. Call `at_work` first."""
    acts = np.array([(1, *one.counts) for one in timed], np.float64).reshape(-1, len(ACTS))
    seconds = np.array([one.seconds for one in timed], np.float64)
    prior = np.array(PRIOR)
    square = acts.T @ acts + PRIOR_COUNT * np.eye(len(ACTS))
    return _non_negative(square, acts.T @ seconds + PRIOR_COUNT * prior, prior)


def at_work(timed: Sequence[Timed]) -> list[Timed]:
    """Without those that took so long that the person was elsewhere."""
    seconds = [one.seconds for one in timed]
    if len(seconds) < LEAST:
        return list(timed)
    lower, upper = np.quantile(seconds, (0.25, 0.75))
    return [one for one in timed if one.seconds <= upper + COFFEE * (upper - lower)]


def _non_negative(square: Floats, right: Floats, start: Floats) -> Floats:
    """Minimise x·square·x / 2 − right·x over x ≥ 0, one coordinate after the other; `square` is positive definite."""
    found = start.copy()
    for _ in range(PASSES):
        before = found.copy()
        for act in range(len(found)):
            found[act] = max(0.0, found[act] + (right[act] - square[act] @ found) / square[act, act])
        if np.abs(found - before).max() < 1e-9:
            break
    return found
