"""The pictures' geometry stays inside its frame and adds up."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from console.shapes import arrows, rim, slices, spark
from labelwheel.database.tables import QUEUE_STATUSES

counts = st.dictionaries(st.sampled_from(QUEUE_STATUSES), st.integers(0, 10**6))
scores = st.lists(st.floats(0, 1000), min_size=1, max_size=60)


@given(counts)
def test_slices_fill_the_bar_in_order_without_gaps(given_counts: dict[str, int]) -> None:
    found = slices(given_counts, QUEUE_STATUSES)
    assert {piece.name: piece.count for piece in found} == {name: count for name, count in given_counts.items() if count}
    edges = [0.0] + [piece.start + piece.width for piece in found]
    assert all(abs(piece.start - edge) < 0.02 for piece, edge in zip(found, edges, strict=False))
    assert not found or abs(edges[-1] - 100) < 0.02


@given(scores, st.floats(0.01, 100))
def test_spark_lies_in_its_frame_and_keeps_the_order_of_heights(given_scores: list[float], threshold: float) -> None:
    curve = spark(given_scores, threshold, 150, 34)
    points = [tuple(float(part) for part in pair.split(",")) for pair in curve.line.split()]
    assert len(points) == len(given_scores)
    assert all(0 <= x <= 150.1 and 0 <= y <= 34 for x, y in points)
    assert tuple(curve.end) == points[-1]
    assert abs(points[-1][0] - 150) < 0.1, "the newest score stands at the right edge"
    for (_, y), score in zip(points, given_scores, strict=True):
        assert (y <= curve.threshold) == (score >= threshold) or abs(y - curve.threshold) <= 0.1


@given(st.integers(3, 12))
def test_places_and_arrows_lie_on_the_rim(count: int) -> None:
    for x, y, *_ in [*rim(count, 100, 200), *arrows(count, 100, 200)]:
        assert abs(math.hypot(x - 200, y - 200) - 100) < 0.15


def test_the_wheel_turns_clockwise_from_the_top() -> None:
    top, right = rim(4, 100, 200)[:2]
    assert (top, right) == ((200, 100), (300, 200))
    assert arrows(4, 100, 200)[0].turn > 0, "downwards right after the top"
