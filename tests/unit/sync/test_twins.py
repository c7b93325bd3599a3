from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sync.exchange.twins import choose_twin

tasks = st.dictionaries(st.integers(1, 9), st.booleans(), min_size=1)


@given(tasks, st.none() | st.integers(1, 9))
def test_a_task_that_somebody_worked_on_stays_then_the_recorded_then_the_oldest(untouched: dict[int, bool], recorded: int | None) -> None:
    kept = choose_twin(untouched, recorded)
    worked_on = sorted(task for task, idle in untouched.items() if not idle)
    candidates = worked_on or sorted(untouched)
    assert kept == (recorded if recorded in candidates else candidates[0])


@given(tasks, st.none() | st.integers(1, 9))
def test_choosing_again_among_what_was_left_changes_nothing(untouched: dict[int, bool], recorded: int | None) -> None:
    kept = choose_twin(untouched, recorded)
    left = {task: idle for task, idle in untouched.items() if not idle or task == kept}
    assert choose_twin(left, recorded) == choose_twin(left, kept) == kept or recorded in left
