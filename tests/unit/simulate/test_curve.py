"""Curves: error bars by the book, gains that compare like with like."""

from __future__ import annotations

import math
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.simulate.curve import Mean, Point, Run, by_round, gain, gains, last_gains, summarise

scores = st.floats(0, 1)


@st.composite
def curves(draw: st.DrawFn, first: int = 10) -> tuple[Point, ...]:
    """A start and one to five rounds, from the same start; each spends some images and boxes."""
    rounds = draw(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 50), scores), min_size=1, max_size=5))
    points = [Point(0, first, first * 5, 100, draw(scores), 0.1)]
    for number, (images, boxes, score) in enumerate(rounds, start=1):
        last = points[-1]
        points.append(Point(number, last.images + images, last.boxes + boxes, last.updates + 20, score, score / 2))
    return tuple(points)


@given(st.lists(scores, min_size=2, max_size=40))
def test_a_mean_carries_the_standard_error_and_an_interval_that_is_wider(values: list[float]) -> None:
    mean = summarise(values)
    assert mean.mean == pytest.approx(fmean(values))
    assert mean.error == pytest.approx(stdev(values) / math.sqrt(len(values)))
    assert mean.half_width >= 1.95 * mean.error


def test_the_interval_of_three_seeds_is_students_not_gausss() -> None:
    assert summarise([0.1, 0.2, 0.3]).half_width == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-4)
    assert math.isnan(summarise([0.5]).half_width)
    with pytest.raises(ValueError, match="nothing"):
        summarise([])


@pytest.mark.parametrize(
    ("mean", "half_width", "verdict"),
    [(0.02, 0.01, "better"), (-0.02, 0.01, "worse"), (0.02, 0.03, "noise"), (0.9, math.nan, "noise"), (0.0, 0.0, "noise")],
)
def test_a_difference_whose_interval_holds_zero_is_called_noise(mean: float, half_width: float, verdict: str) -> None:
    assert Mean(mean, 0.01, half_width, 3).verdict == verdict


@given(curves(), curves(), st.sampled_from(["images", "boxes", "updates"]))
def test_gains_are_antisymmetric_and_none_over_oneself(mine: tuple[Point, ...], other: tuple[Point, ...], axis: str) -> None:
    assert gain(mine, other, axis, "map50") == pytest.approx(-gain(other, mine, axis, "map50"))
    assert gain(mine, mine, axis, "map50") == pytest.approx(0)


@given(curves(), st.floats(-0.5, 0.5))
def test_a_curve_that_is_higher_all_along_gains_just_that(mine: tuple[Point, ...], lift: float) -> None:
    other = tuple(Point(p.round, p.images, p.boxes, p.updates, p.map50 - lift, p.map50_95) for p in mine)
    assert gain(mine, other, "boxes", "map50") == pytest.approx(lift)


def test_who_spends_more_boxes_is_compared_where_the_other_has_spent_as_many() -> None:
    spender = [Point(0, 10, 100, 1, 0.0, 0), Point(1, 20, 300, 2, 0.4, 0)]
    saver = [Point(0, 10, 100, 1, 0.0, 0), Point(1, 20, 200, 2, 0.2, 0)]
    assert gain(spender, saver, "images", "map50") == pytest.approx(0.1)  # looks better by images …
    assert gain(spender, saver, "boxes", "map50") == pytest.approx(0.0)  # … and bought nothing a box


def test_differences_are_paired_by_seed_and_unpaired_seeds_are_left_out() -> None:
    def run(strategy: str, seed: int, last: float, rare: float | None = None) -> Run:
        return Run("shift", strategy, seed, (Point(0, 10, 50, 100, 0.2, 0.1), Point(1, 20, 100, 200, last, 0.2, rare)))

    runs = [run("random", 1, 0.3), run("random", 2, 0.5), run("errors", 1, 0.4, 0.1), run("errors", 2, 0.6), run("errors", 3, 0.9)]
    found = gains(runs, "shift", "errors", "random", "images", "map50")
    assert found is not None and found.count == 2
    assert (found.mean, found.error) == (pytest.approx(0.05), pytest.approx(0.0))  # the seeds' own level is out of it
    last = last_gains(runs, "shift", "errors", "random", "map50")
    assert last is not None and last.mean == pytest.approx(0.1)
    assert last_gains(runs, "shift", "errors", "random", "rare") is None
    assert gains(runs, "homogeneous", "errors", "random", "images", "map50") is None
    assert [mean.count for mean in by_round(runs, "shift", "errors", "map50")] == [3, 3]
    assert [mean.mean for mean in by_round(runs, "shift", "errors", "rare")] == [0.1]
