"""Hours of rest."""

from __future__ import annotations

from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.hours import open_at, read_hours, until

moments = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))
spans = st.tuples(moments, moments).filter(lambda span: span[0] != span[1])
texts = st.lists(spans.map(lambda span: f"{span[0]:%H:%M}-{span[1]:%H:%M}"), max_size=3).map(" ".join)


@pytest.mark.parametrize(
    ("text", "at", "is_open", "end"),
    [
        ("", "12:00", True, "12:00"),
        ("08:00-17:00", "08:00", False, "17:00"),
        ("08:00-17:00", "17:00", True, "17:00"),
        ("22:00-06:00", "23:59", False, "06:00"),
        ("22:00-06:00", "05:59", False, "06:00"),
        ("22:00-06:00", "06:00", True, "06:00"),
        ("12:00-13:00 13:00-14:00", "12:30", False, "14:00"),
    ],
)
def test_table(text: str, at: str, is_open: bool, end: str) -> None:
    moment = time.fromisoformat(at)
    assert (open_at(text, moment), until(text, moment)) == (is_open, time.fromisoformat(end))


@pytest.mark.parametrize("text", ["8-17", "08:00-08:00", "24:00-06:00", "08:00 - 17:00", "08:00-17:00,18:00-19:00"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"span|begins"):
        read_hours(text)


@given(texts, moments)
def test_it_is_open_when_the_rest_ends_unless_it_never_does(text: str, moment: time) -> None:
    end = until(text, moment)
    edges = [end for _, end in read_hours(text)]  # if it is ever open, it is so right after a rest
    assert open_at(text, end) or not any(open_at(text, edge) for edge in edges)
    assert end == moment or not open_at(text, moment)
