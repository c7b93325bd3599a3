"""Learning curves from finished rounds: means, error bars, and what a strategy gained over another, in images and in boxes. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from scipy.special import stdtrit  # Student's t


@dataclass(frozen=True, slots=True)
class Point:
    """One model of a run: what had been labelled for it, and how good it is on the test set."""

    round: int
    images: int
    boxes: int
    updates: int
    map50: float
    map50_95: float
    rare: float | None = None  # AP50 of the rare label
    new: float | None = None  # mAP50 on the new source
    new_images: int = 0  # labelled images of the new source
    rare_images: int = 0  # labelled images that bear the rare label


@dataclass(frozen=True, slots=True)
class Run:
    """One strategy in one regime with one seed: the start model's point, then one a round."""

    regime: str
    strategy: str
    seed: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds with its standard error and the half width of its 95 % interval (Student's t); both nan for one seed."""

    mean: float
    error: float
    half_width: float
    count: int

    @property
    def verdict(self) -> str:
        """Of a difference: better or worse when zero is outside of its interval, else noise."""
        if math.isnan(self.half_width) or abs(self.mean) <= self.half_width:
            return "noise"
        return "better" if self.mean > 0 else "worse"


def summarise(values: Sequence[float]) -> Mean:
    """Mean, standard error and interval. Raises ValueError without a value."""
    count = len(values)
    if not count:
        raise ValueError("There is nothing to take the mean of.")
    if count == 1:
        return Mean(values[0], math.nan, math.nan, 1)
    error = stdev(values) / math.sqrt(count)
    return Mean(fmean(values), error, float(stdtrit(count - 1, 0.975)) * error, count)


def gain(mine: Sequence[Point], other: Sequence[Point], axis: str, score: str) -> float:
    """Mean of mine − other over the stretch of the axis (`images` or `boxes`) that both curves cover, drawn as straight lines.

    So a strategy that spends more boxes is compared where the other has spent as many. Where they share one place only, it is the
    difference there.
    """
    curves = [_line(points, axis, score) for points in (mine, other)]
    low, high = max(xs[0] for xs, _ in curves), min(xs[-1] for xs, _ in curves)
    places = np.unique([low, high, *(x for xs, _ in curves for x in xs if low < x < high)])
    heights = np.interp(places, *curves[0]) - np.interp(places, *curves[1])
    if len(places) < 2 or high <= low:
        return float(heights[0])
    return float(np.trapezoid(heights, places) / (places[-1] - places[0]))


def gains(runs: Sequence[Run], regime: str, strategy: str, against: str, axis: str, score: str) -> Mean | None:
    """`gain` of one strategy over another in the same regime, paired by seed; None where no seed has both."""
    mine, other = (_by_seed(runs, regime, name) for name in (strategy, against))
    paired = [gain(mine[seed].points, other[seed].points, axis, score) for seed in sorted(mine.keys() & other.keys())]
    return summarise(paired) if paired else None


def last_gains(runs: Sequence[Run], regime: str, strategy: str, against: str, score: str) -> Mean | None:
    """Difference of the last round, paired by seed; None where no seed has a score of both."""
    mine, other = (_by_seed(runs, regime, name) for name in (strategy, against))
    pairs = [(mine[seed].points[-1], other[seed].points[-1]) for seed in sorted(mine.keys() & other.keys())]
    values = [(getattr(a, score), getattr(b, score)) for a, b in pairs]
    known = [a - b for a, b in values if a is not None and b is not None]
    return summarise(known) if known else None


def by_round(runs: Sequence[Run], regime: str, strategy: str, value: str) -> list[Mean]:
    """Mean of one value of the points over the seeds, a round each; rounds in which no run has the value are left out."""
    mine = list(_by_seed(runs, regime, strategy).values())
    rounds = range(min((len(run.points) for run in mine), default=0))
    columns = [[getattr(run.points[number], value) for run in mine] for number in rounds]
    return [
        summarise([float(item) for item in column if item is not None]) for column in columns if any(item is not None for item in column)
    ]


def _by_seed(runs: Sequence[Run], regime: str, strategy: str) -> dict[int, Run]:
    return {run.seed: run for run in runs if (run.regime, run.strategy) == (regime, strategy)}


def _line(points: Sequence[Point], axis: str, score: str) -> tuple[list[float], list[float]]:
    """Axis and score of a curve by rising axis. Of points that share a place (a control labels nothing) the last one counts."""
    places = {float(getattr(point, axis)): float(getattr(point, score)) for point in points}
    return list(places), list(places.values())
