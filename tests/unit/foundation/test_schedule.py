"""Fire times: every scheduler computes the same ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from labelwheel.schedule import fire_time, intervals
from labelwheel.settings import Settings

moments = st.timedeltas(timedelta(0), timedelta(days=60_000)).map(lambda passed: datetime(1970, 1, 1, tzinfo=UTC) + passed)
seconds = st.integers(1, 100_000)


@given(moments, seconds)
def test_a_fire_time_is_the_start_of_the_interval_that_the_moment_lies_in(moment: datetime, every: int) -> None:
    fired = fire_time(moment, every)
    assert fired <= moment < fired + timedelta(seconds=every)
    assert fired.timestamp() % every == 0


@given(moments, seconds)
def test_a_whole_interval_shares_one_fire_time(moment: datetime, every: int) -> None:
    fired = fire_time(moment, every)
    assert fire_time(fired, every) == fire_time(fired + timedelta(seconds=every, microseconds=-1), every) == fired
    assert fire_time(fired + timedelta(seconds=every), every) == fired + timedelta(seconds=every)


@given(moments, seconds, st.integers(-14, 14))
def test_the_zone_of_the_clock_does_not_matter(moment: datetime, every: int, hours: int) -> None:
    assert fire_time(moment.astimezone(timezone(timedelta(hours=hours))), every) == fire_time(moment, every)


def test_intervals_are_those_of_the_settings() -> None:
    ticks = {name: 11 + number for number, name in enumerate(name for name in Settings.model_fields if name.startswith("tick_"))}
    used = {name: value for name, value in ticks.items() if name != "tick_deletions"}  # the pull looks at that one itself
    assert sorted(intervals(Settings(**ticks)).values()) == sorted(used.values())
