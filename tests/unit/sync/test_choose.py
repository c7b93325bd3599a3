"""Choosing: pure, within the budget, and in the order of the errors expected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.choose import AUDIT_PRIORITY, Candidate, Rules, choose, choose_first, expected_errors

confidences = st.lists(st.floats(0, 1), max_size=6).map(tuple)
edges = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)
rules = st.builds(lambda band, budget: Rules(band[0], band[1], budget), edges, st.integers(0, 12))


@st.composite
def pools(draw: st.DrawFn) -> list[Candidate]:
    size = draw(st.integers(0, 25))
    candidate = st.tuples(st.integers(1, 15), st.booleans(), st.none() | confidences)
    drawn = draw(st.lists(candidate, min_size=size, max_size=size))
    return [Candidate(number, image, "line-a", audit, found, None) for number, (image, audit, found) in enumerate(drawn)]


@st.composite
def described_pools(draw: st.DrawFn) -> list[Candidate]:
    vectors = st.none() | st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda pair: tuple(map(float, pair)))
    drawn = draw(st.lists(st.tuples(st.integers(1, 30), st.booleans(), vectors), max_size=25))
    return [Candidate(number, image, "line-a", audit, None, vector) for number, (image, audit, vector) in enumerate(drawn)]


@given(pools(), rules)
def test_every_audited_image_is_in_and_the_others_keep_the_budget(pool: list[Candidate], rules: Rules) -> None:
    choices = choose(pool, rules)
    audited = {candidate.image_id for candidate in pool if candidate.audit}
    assert {choice.candidate.image_id for choice in choices if choice.reason == "audit"} == audited
    assert sum(choice.reason != "audit" for choice in choices) <= rules.budget
    assert all(choice.priority == AUDIT_PRIORITY for choice in choices if choice.reason == "audit")


@given(pools(), rules)
def test_one_choice_for_an_image_and_the_same_again_for_the_same_pool(pool: list[Candidate], rules: Rules) -> None:
    choices = choose(pool, rules)
    images = [choice.candidate.image_id for choice in choices]
    assert len(set(images)) == len(images)
    assert choose(list(pool), rules) == choices


@given(pools(), rules)
def test_only_what_has_a_detection_inside_the_band_is_uncertain(pool: list[Candidate], rules: Rules) -> None:
    for choice in choose(pool, rules):
        if choice.reason == "low_confidence":
            assert any(rules.low <= value <= rules.high for value in choice.candidate.confidences or ())


@given(pools(), rules)
def test_none_left_out_is_more_uncertain_than_one_chosen(pool: list[Candidate], rules: Rules) -> None:
    unlimited = choose(pool, Rules(rules.low, rules.high, len(pool)))
    chosen = choose(pool, rules)
    assert chosen == unlimited[: len(chosen)]
    ranked = [choice.priority for choice in unlimited if choice.reason != "audit"]
    assert ranked == sorted(ranked, reverse=True)
    assert len(chosen) == len(unlimited) or sum(choice.reason != "audit" for choice in chosen) == rules.budget


@given(confidences, st.floats(0, 1), edges)
def test_one_more_detection_never_lowers_the_errors_expected(found: tuple[float, ...], more: float, band: list[float]) -> None:
    before, after = (expected_errors(values, *band) for values in (found, (*found, more)))
    assert 0 <= before <= after <= before + 0.5


def test_the_priority_follows_the_errors_expected() -> None:
    pool = [Candidate(n, n, "line-a", False, found) for n, found in enumerate([(0.69,), (0.5,), (0.5, 0.5), (0.39, 0.71), (), None])]
    choices = choose(pool, Rules(0.4, 0.7, 10))
    assert [choice.candidate.capture_id for choice in choices] == [2, 1, 0]
    assert [choice.priority for choice in choices] == [0.5, 0.3333, 0.2366]


def test_of_captures_that_share_an_image_the_audited_one_stands_for_it() -> None:
    pool = [Candidate(1, 9, "line-a", True, (0.5,)), Candidate(2, 9, "line-b", False, (0.5,))]
    assert [(choice.candidate.capture_id, choice.reason) for choice in choose(pool, Rules(0.4, 0.7, 10))] == [(1, "audit")]


@given(described_pools(), st.integers(0, 12), st.integers(0, 2**40))
@settings(max_examples=60)
def test_a_first_batch_takes_the_audits_and_no_more_than_its_size(pool: list[Candidate], budget: int, seed: int) -> None:
    choices = choose_first(pool, budget, seed)
    images = [choice.candidate.image_id for choice in choices]
    spread = [choice for choice in choices if choice.reason == "novelty"]
    assert len(set(images)) == len(images)
    assert {candidate.image_id for candidate in pool if candidate.audit} <= set(images)
    assert len(spread) <= budget
    assert all(choice.candidate.descriptor is not None for choice in spread)
    assert all(0 < choice.priority <= 1 for choice in choices)
    assert choose_first(pool, budget, seed) == choices


@pytest.mark.parametrize(("size", "budget"), [(3, 5), (5, 5), (50, 5), (50, 0), (0, 5)])
def test_a_first_batch_of_images_that_differ_is_full(size: int, budget: int) -> None:
    pool = [Candidate(n, n, "line-a", False, None, (float(n), float(n * n))) for n in range(size)]
    assert len(choose_first(pool, budget, 1)) == min(size, budget)


def test_a_first_batch_sees_more_kinds_than_a_random_one() -> None:
    rng = np.random.default_rng(7)
    kinds = np.repeat(np.arange(12), [200, 100, 40, 20, *[5] * 8])  # most captures look alike, as on a line
    centres = rng.normal(0, 10, (12, 8))
    pool = [Candidate(n, n, "a", False, None, tuple(centres[kind] + rng.normal(0, 0.5, 8))) for n, kind in enumerate(kinds)]
    spread = [len({kinds[choice.candidate.capture_id] for choice in choose_first(pool, 12, seed)}) for seed in range(20)]
    random = [len(set(rng.choice(kinds, 12, replace=False))) for _ in range(20)]
    assert np.mean(spread) >= 10.5
    assert np.mean(random) <= 7
