"""Alerts: raised once, resolved once, never flickering at the edge of the threshold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.alert import Verdict, decide

YES, NO = True, False


@pytest.mark.parametrize(
    ("drifted", "open_alert", "expected"),
    [
        ([], NO, Verdict.NOTHING),
        ([YES], NO, Verdict.NOTHING),
        ([YES, NO], NO, Verdict.NOTHING),
        ([YES, YES], NO, Verdict.RAISE),
        ([YES, YES, NO], NO, Verdict.RAISE),
        ([YES, YES], YES, Verdict.KEEP),
        ([NO, YES], YES, Verdict.KEEP),
        ([NO], YES, Verdict.KEEP),
        ([NO, NO, YES], YES, Verdict.RESOLVE),
        ([NO, NO], NO, Verdict.NOTHING),
    ],
)
def test_two_windows_decide(drifted: list[bool], open_alert: bool, expected: Verdict) -> None:
    assert decide(drifted, open_alert, repeats=2) is expected


@given(st.lists(st.booleans(), max_size=80), st.integers(1, 5))
def test_raising_and_resolving_take_turns_and_each_needs_its_repeats(stream: list[bool], repeats: int) -> None:
    is_open, seen = False, []
    for drifted in stream:
        seen.insert(0, drifted)
        verdict = decide(seen, is_open, repeats)
        assert verdict in ((Verdict.KEEP, Verdict.RESOLVE) if is_open else (Verdict.RAISE, Verdict.NOTHING))
        if verdict is Verdict.RAISE:
            assert seen[:repeats] == [YES] * repeats
            is_open = True
        if verdict is Verdict.RESOLVE:
            assert seen[:repeats] == [NO] * repeats
            is_open = False
    if len(stream) >= repeats and len(set(stream[-repeats:])) == 1:
        assert is_open is stream[-1], "as many equal windows as are asked for always settle it"
