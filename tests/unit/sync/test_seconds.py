"""Seconds of each act: what planted times are made of is found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.corrections.seconds import ACTS, PRIOR, Timed, at_work, fit

counts = st.tuples(*[st.integers(0, 8)] * 5)


def drawn(acts: np.ndarray, number: int, rng: np.random.Generator, noise: float) -> list[Timed]:
    found = []
    for _ in range(number):
        count = rng.poisson([4, 1, 0.5, 1, 2])
        seconds = acts @ [1, *count] * rng.lognormal(0, noise)
        found.append(Timed(float(seconds), tuple(int(one) for one in count)))
    return found


def test_planted_seconds_are_found_again() -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    rng = np.random.default_rng(seed)
    acts = rng.uniform(0.5, 10, len(ACTS))
    assert fit(drawn(acts, 3000, rng, 0.02)) == pytest.approx(acts, abs=0.6), f"seed {seed}"


def test_without_annotations_the_prior_is_the_answer_and_a_few_hardly_move_it() -> None:
    assert fit([]) == pytest.approx(PRIOR)
    one = fit([Timed(60.0, (0, 0, 0, 0, 1))])
    assert 7 < one[ACTS.index("added")] < 20
    assert one[ACTS.index("kept")] == pytest.approx(PRIOR[ACTS.index("kept")])


@given(st.lists(st.builds(Timed, st.floats(0, 600), counts), max_size=40))
def test_no_act_takes_less_than_no_time_and_nothing_nearby_fits_better(timed: list[Timed]) -> None:
    found = fit(timed)
    assert (found >= 0).all()

    def loss(acts: np.ndarray) -> float:
        errors = [one.seconds - acts @ [1, *one.counts] for one in timed]
        return float(np.square(errors).sum() + 5 * np.square(acts - PRIOR).sum())

    for act in range(len(ACTS)):
        for step in (-0.05, 0.05):
            other = found.copy()
            other[act] = max(0.0, other[act] + step)
            assert loss(found) <= loss(other) + 1e-4


def test_who_went_for_coffee_teaches_nothing() -> None:
    busy = [Timed(10.0 + number % 5, (1, 0, 0, 0, 1)) for number in range(40)]
    assert at_work([*busy, Timed(1800.0, (1, 0, 0, 0, 1))]) == busy
    few = [Timed(10.0, (0, 0, 0, 0, 0)), Timed(1800.0, (0, 0, 0, 0, 0))]
    assert at_work(few) == few, "of two nobody can say which is strange"
