"""How rows and instants are shown to people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from console.screen import ago, lasting, show

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=2, seconds=59), "2 min ago"),
        (timedelta(minutes=60), "1 h ago"),
        (timedelta(hours=23, minutes=59), "23 h ago"),
    ],
)
def test_what_was_today_is_told_by_how_long_ago_it_was(gone: timedelta, told: str) -> None:
    assert ago((NOW - gone).isoformat(), NOW) == told


@pytest.mark.parametrize("gone", [timedelta(days=1), timedelta(days=-1), timedelta(days=400)])
def test_other_instants_are_told_in_local_time(gone: timedelta) -> None:
    assert ago((NOW - gone).isoformat(), NOW) == f"{(NOW - gone).astimezone():%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(("seconds", "told"), [(59, "59 s"), (61, "1 min 1 s"), (3660, "1 h 1 min"), (90_000, "1 d 1 h")])
def test_what_lasts_is_told_in_two_units(seconds: int, told: str) -> None:
    assert lasting(seconds) == told


def test_a_row_is_a_line_where_nobody_sees_it_and_what_looks_like_markup_stays() -> None:
    out = StringIO()
    show([{"id": 1, "name": "line-1/" + "0123456789" * 8, "why": "[red]" + " because" * 9}], False, to=Console(file=out))
    assert [line.split()[0] for line in out.getvalue().splitlines() if "line-1" in line] == ["1"]
    assert "[red]" in out.getvalue() and len(out.getvalue().strip().splitlines()) == 3
