"""Where a rollback leads, after whatever people and gates did before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.model.trail import Turn, earlier, trail

TURNS = st.lists(st.builds(Turn, st.integers(1, 5), st.booleans()), max_size=30)


def after(story: str) -> str | None:
    """Who serves after a story: `A` is a promotion of A, `<` a rollback, `<A` one to A. None where a rollback finds nothing."""
    turns: list[Turn] = []
    words = story.split()
    for word in words:
        found = ord(word[-1]) if word != "<" else earlier(turns)
        if found is None:
            return None
        turns.append(Turn(found, word.startswith("<")))
    return chr(trail(turns)[-1])


@pytest.mark.parametrize(
    ("story", "serves"),
    [
        ("A <", None),
        ("A B C <", "B"),
        ("A B C < <", "A"),  # further back, not to and fro
        ("A B C < < <", None),
        ("B C A <", "C"),  # A is older, and was put there by override
        ("B C A < <", "B"),
        ("A B C < D <", "B"),  # C was given up
        ("A B C < D < <", "A"),
        ("A B A <", "B"),
        ("A B A < <", "A"),
        ("A B B <", "A"),  # under another name
        ("A B C <A <", None),
        ("A B C < <C <", "B"),  # C after all
        ("A B C <C <", "B"),
    ],
)
def test_what_serves_after(story: str, serves: str | None) -> None:
    assert after(story) == serves


@given(TURNS)
def test_a_rollback_leads_to_another_that_served_and_rollbacks_end(turns: list[Turn]) -> None:
    served = {turn.model_version_id for turn in turns}
    assert earlier([]) is None
    for _ in range(len(turns)):
        serving = trail(turns)[-1] if turns else None
        assert not turns or serving == turns[-1].model_version_id
        back = earlier(turns)
        if back is None:
            break
        assert back != serving and back in served
        turns = [*turns, Turn(back, back=True)]
    assert earlier(turns) is None, "as many rollbacks as there were deployments, and one could still go on"


@given(TURNS, st.integers(6, 9))
def test_a_promotion_is_taken_back_by_one_rollback(turns: list[Turn], promoted: int) -> None:
    assert earlier([*turns, Turn(promoted)]) == (turns[-1].model_version_id if turns else None)
