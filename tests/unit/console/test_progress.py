"""The stream of a training's progress, without a server and without waiting."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from console.progress import BEAT_SECONDS, LOOK_SECONDS, MOST_SECONDS, stream
from labelwheel.database.tables import ACTIVE_RUN_STATUSES, ENDED_RUN_STATUSES

steps = st.lists(st.tuples(st.sampled_from(ACTIVE_RUN_STATUSES), st.integers(0, 3)), max_size=30)


class Clock:
    """A run that takes one step with each look; a client that leaves after so many."""

    def __init__(self, states: Iterator[tuple[str, int]], leaves_after: int = 10**9) -> None:
        self.states, self.leaves_after, self.now, self.looks = states, leaves_after, 0.0, 0

    def look(self) -> dict[str, object] | None:
        self.looks += 1
        state = next(self.states, None)
        return state and {"status": state[0], "percent": state[1]}

    def leave(self, seconds: float) -> bool:
        self.now += seconds
        return self.looks >= self.leaves_after

    def told(self) -> list[str]:
        return list(stream(self.look, self.leave, lambda: self.now))


@given(steps, st.sampled_from(ENDED_RUN_STATUSES))
def test_each_change_is_told_once_and_the_end_is_the_last_word(active: list[tuple[str, int]], end: str) -> None:
    clock = Clock(iter([*active, (end, 9), (end, 9)]))
    events = [chunk for chunk in clock.told() if chunk.startswith("event: ")]
    seen = [(data["status"], data["percent"]) for data in (json.loads(chunk.split("data: ")[1]) for chunk in events)]
    changes = [state for place, state in enumerate(active) if not place or active[place - 1] != state]
    assert seen == [*changes, (end, 9)]
    assert [chunk.split("\n")[0] for chunk in events] == ["event: progress"] * len(changes) + ["event: end"]
    assert clock.looks == len(active) + 1


def test_a_long_silence_is_broken_and_the_stream_ends_in_time() -> None:
    clock = Clock(iter(lambda: ("training", 1), None))
    told = clock.told()
    assert abs(told.count(": still there\n\n") - MOST_SECONDS / BEAT_SECONDS) <= 1
    assert MOST_SECONDS <= clock.now <= MOST_SECONDS + LOOK_SECONDS


def test_it_ends_when_the_server_does_or_the_run_is_gone() -> None:
    assert Clock(iter(lambda: ("training", 1), None), leaves_after=3).told()[0].startswith("retry: ")
    leaving = Clock(iter(lambda: ("training", 1), None), leaves_after=3)
    leaving.told()
    assert leaving.looks == 3
    assert len(Clock(iter(())).told()) == 1
