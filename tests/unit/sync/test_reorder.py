"""Who moves after a deployment, and where to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.review.answer import FLAGGED_PRIORITY
from sync.selection.reorder import LEAST, doubt, moved
from sync.selection.rules import STRATEGIES, Rules
from sync.selection.score import Found

shares = st.floats(0, 1)


@given(shares, shares)
def test_a_task_ends_within_reach_of_its_doubt_and_then_stays(before: float, now: float) -> None:
    place = moved(before, now, "low_confidence")
    ends = before if place is None else place
    assert abs(ends - now) <= 1.5 * LEAST + 1e-9
    assert moved(ends, now, "low_confidence") is None


@given(shares)
def test_what_somebody_flagged_stays_before_all(now: float) -> None:
    assert moved(FLAGGED_PRIORITY, now, "low_confidence") is None


@pytest.mark.parametrize("reason", ["audit", "novelty", "drift", "disagreement", "label_error"])
def test_who_is_urgent_for_another_reason_stays(reason: str) -> None:
    assert moved(0.1, 0.9, reason) is None


def test_a_task_without_a_place_gets_one_and_without_a_look_none() -> None:
    assert moved(None, 0.5, "adopted") == 0.5
    assert moved(None, None, "adopted") is None


@given(st.lists(shares, max_size=6), st.sampled_from(STRATEGIES))
def test_doubt_is_a_share(confidences: list[float], measure: str) -> None:
    found = [Found("open", confidence, (0, 0, 9, 9)) for confidence in confidences]
    assert 0 <= doubt(found, Rules(budget=1, uncertainty=measure)) < 1
