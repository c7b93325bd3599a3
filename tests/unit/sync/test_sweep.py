"""The comparison of all tasks: what is gone, moved, back in an earlier state, or changed unseen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from labelwheel.labelstudio.client import Stamp
from sync.exchange.sweep import Known, Sweep, compare

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOTHING = Sweep([], [], {}, [], [], [], [])


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def known(key: str = "k", task: int = 5, minutes: float | None = 0, status: str = "pushed", row: int = 1) -> Known:
    return Known(row, key, task, None if minutes is None else at(minutes), status)


def stamp(key: str = "k", task: int = 5, minutes: float = 0) -> Stamp:
    return Stamp(task, key, at(minutes))


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(-60, 60)), unique_by=lambda pair: pair[0]))
def test_what_is_as_we_saw_it_is_nothing_to_do(tasks: list[tuple[int, int]]) -> None:
    ours = [known(f"k{task}", task, minutes, row=task) for task, minutes in tasks]
    stood = [(task.key, task.ls_task_id) for task in ours]
    assert compare(ours, stood, [stamp(f"k{task}", task, minutes) for task, minutes in tasks], at(0)) == NOTHING


def test_a_task_that_is_gone_takes_its_annotations_along() -> None:
    found = compare([known(), known("b", 6, row=2)], [("k", 5)], [stamp("b", 6)], at(0))
    assert (found.gone, found.vanished) == ([1], [("k", 5)])


def test_an_id_that_another_task_has_now_is_not_ours() -> None:
    found = compare([known()], [("k", 5)], [Stamp(5, "", at(9))], at(0))
    assert (found.gone, found.vanished) == ([1], [("k", 5)])


def test_a_task_under_another_id_is_followed_and_what_stood_on_the_old_one_is_gone() -> None:
    found = compare([known()], [("k", 5)], [stamp(task=9), stamp(task=8)], at(0))
    assert (found.moved, found.gone, found.vanished) == ({1: 8}, [], [("k", 5)])


def test_the_known_one_of_twins_stays() -> None:
    found = compare([known()], [("k", 5), ("k", 4)], [stamp(task=4), stamp(task=5)], at(0))
    assert found == replace(NOTHING, changed=[4], twins=["k"])


def test_an_earlier_state_is_noticed_and_a_clock_that_was_set_is_not_one() -> None:
    assert compare([known(minutes=0)], [], [stamp(minutes=-1)], None).back == ["k"]
    assert compare([known(minutes=0)], [], [stamp(minutes=-0.01)], None).back == []


def test_a_change_behind_the_cursor_is_looked_at_and_one_before_it_is_left_to_the_list_of_changes() -> None:
    assert compare([known(minutes=0)], [], [stamp(minutes=1)], at(2)).changed == [5]
    assert compare([known(minutes=0)], [], [stamp(minutes=3)], at(2)).changed == []
    assert compare([known(minutes=None)], [], [stamp(minutes=1)], at(2)).changed == []


def test_a_lost_task_is_sent_again_only_where_nobody_had_answered() -> None:
    lost = [known("a", 0, None, "pushed", 1), known("b", 0, None, "approved", 2), known("c", 0, None, "pending", 3)]
    found = compare(lost, [], [], at(0))
    assert (found.gone, found.unanswered) == ([], [1])
    assert compare(lost[:1], [], [stamp("a", 7)], at(0)).moved == {1: 7}
