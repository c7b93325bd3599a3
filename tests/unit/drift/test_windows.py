"""Reference and window: right captures, right order, never the same capture in both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from drift.windows import Sample, Windows, cut, values

START = datetime(2026, 11, 2, 6, tzinfo=UTC)


def sample(number: int, minute: int | None = None, **features: float | None) -> Sample:
    return Sample(number, START + timedelta(minutes=number if minute is None else minute), features)


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 12), st.integers(1, 12))
def test_reference_is_the_beginning_and_window_the_end(minutes: list[int], reference: int, window: int) -> None:
    samples = sorted((sample(number, minute) for number, minute in enumerate(minutes)), key=lambda item: item.order)
    found = cut(samples[:reference], samples[::-1][:window], reference, window)
    if len(samples) < reference + window:
        assert found is None
    else:
        assert found is not None
        assert found.reference == tuple(samples[:reference])
        assert found.window == tuple(samples[len(samples) - window :])
        assert found.reference[-1].order < found.window[0].order


def test_captures_of_one_instant_stand_in_the_order_received() -> None:
    burst = [sample(number, minute=0) for number in (3, 1, 4, 2)]
    found = cut(burst, burst, 2, 2)
    assert found is not None
    assert [item.capture_id for item in (*found.reference, *found.window)] == [1, 2, 3, 4]


def test_fresh_counts_what_came_after_the_tested_capture() -> None:
    windows = Windows((sample(0),), tuple(sample(number) for number in range(10, 20)))
    assert windows.last_capture_id == 19
    assert windows.fresh_since(19) == 0
    assert windows.fresh_since(16) == 3
    assert windows.fresh_since(5) == 10, "a capture that left the window long ago makes all of it fresh"


def test_values_leave_out_what_is_no_number() -> None:
    samples = [
        sample(0, brightness=1.5),
        sample(1),
        sample(2, brightness=None),
        sample(3, brightness=float("nan")),
        sample(4, brightness=2),
    ]
    assert values(samples, "brightness") == [1.5, 2.0]
