"""Choosing: pure, within budget and quotas, by rank, and the same whatever order the pool comes in."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.selection.candidate import Candidate, Selection
from sync.selection.choose import AUDIT_PRIORITY, STRATEGIES, Known, Rules, choose, choose_first, drawn_by_lot
from sync.selection.rank import cut, rank
from sync.selection.score import EMPTY, Found
from tests.unit.sync.test_score import images, one

few = settings(max_examples=25)  # a choice of a pool takes some milliseconds, of which a test run has many

quotas = st.dictionaries(st.sampled_from(("a", "b", "*")), st.integers(0, 5))
label_quotas = st.dictionaries(st.sampled_from(("open", "short", "*")), st.integers(0, 5))
rules_of_all_kinds = st.builds(
    Rules, budget=st.integers(0, 12), uncertainty=st.sampled_from(STRATEGIES), spread=st.sampled_from((0, 1, 4)),
    distance=st.sampled_from((0.0, 0.05)), drift=st.integers(0, 4), novelty=st.integers(0, 4), sources=quotas, labels=label_quotas,
)  # fmt: skip
places = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda pair: np.array(pair, np.float32) / 50)


@st.composite
def pools(draw: st.DrawFn, looked_at: bool = True) -> list[Candidate]:
    """Captures whose image decides what is seen in them, as it is in truth; some share an image."""
    seen = st.none() | images if looked_at else st.none()
    by_image = draw(
        st.dictionaries(st.integers(1, 30), st.tuples(st.booleans(), seen, st.none() | places, st.none() | places), max_size=25)
    )
    captures = draw(st.lists(st.tuples(st.sampled_from(sorted(by_image)), st.sampled_from("ab")), max_size=30)) if by_image else []
    far = st.none() | st.floats(0, 5)
    return [
        Candidate(number, image, source, *by_image[image], drifted=draw(st.booleans()), novelty=draw(far))
        for number, (image, source) in enumerate(captures, start=1)
    ]


known_images = st.lists(st.builds(Known, st.integers(100, 120), st.sampled_from("ab"), places, images, st.booleans()), max_size=5)


def told(selection: Selection) -> list[Any]:
    choices = [(choice.candidate.capture_id, choice.reason, choice.priority, choice.scores) for choice in selection.choices]
    return [*choices, *((entry.candidate.capture_id, entry.why, entry.of) for entry in selection.left_out)]


def chosen(selection: Selection, *reasons: str) -> list[int]:
    return [choice.candidate.capture_id for choice in selection.choices if not reasons or choice.reason in reasons]


def alone(number: int, *confidences: float, **more: Any) -> Candidate:
    found = tuple(one(value, at=20 * place) for place, value in enumerate(confidences))
    return Candidate(number, number, more.pop("source", "a"), more.pop("audit", False), more.pop("found", found), **more)


@given(pools(), rules_of_all_kinds, known_images, st.integers(0, 2**40))
@few
def test_budget_quotas_and_audits_hold_whatever_the_rules(pool: list[Candidate], rules: Rules, known: list[Known], seed: int) -> None:
    selection = choose(pool, rules, known, seed)
    others = [choice for choice in selection.choices if choice.reason != "audit"]
    assert {choice.candidate.image_id for choice in selection.choices if choice.reason == "audit"} == {c.image_id for c in pool if c.audit}
    assert len(others) <= rules.budget
    reasons = Counter(choice.reason for choice in others)
    assert reasons["drift"] <= rules.drift
    assert reasons["novelty"] <= rules.novelty
    for source, count in Counter(choice.candidate.source for choice in others).items():
        assert count <= rules.of_source(source)
    for label, count in Counter(choice.scores["label"] for choice in others).items():
        assert count <= rules.of_label(label)


@given(pools(), rules_of_all_kinds, known_images, st.integers(0, 2**40))
@few
def test_each_capture_is_chosen_once_or_left_out_with_a_reason(pool: list[Candidate], rules: Rules, known: list[Known], seed: int) -> None:
    selection = choose(pool, rules, known, seed)
    captures = [choice.candidate.capture_id for choice in selection.choices] + [entry.candidate.capture_id for entry in selection.left_out]
    assert sorted(captures) == sorted(candidate.capture_id for candidate in pool)
    taken = [choice.candidate.image_id for choice in selection.choices]
    assert len(set(taken)) == len(taken)
    assert all(0 <= choice.priority < AUDIT_PRIORITY or choice.reason == "audit" for choice in selection.choices)
    assert all(entry.of is not None for entry in selection.left_out if entry.why in ("near_duplicate", "same_image"))


@given(pools(), rules_of_all_kinds, known_images, st.integers(0, 2**40))
@few
def test_the_order_of_the_pool_does_not_matter(pool: list[Candidate], rules: Rules, known: list[Known], seed: int) -> None:
    shuffled = random.Random(seed).sample(pool, len(pool))
    assert (
        told(choose(shuffled, rules, known[::-1], seed)) == told(choose(pool, rules, known, seed)) == told(choose(pool, rules, known, seed))
    )


@given(pools(), rules_of_all_kinds, st.integers(0, 2**40), st.integers(1, 7))
@few
def test_a_pool_that_is_cut_portion_by_portion_gives_the_same_choices(pool: list[Candidate], rules: Rules, seed: int, size: int) -> None:
    rules = replace(rules, distance=0.0)  # near-duplicates of what is known are taken out before a cut
    distinct = list({candidate.image_id: candidate for candidate in pool}.values())
    kept: list[Candidate] = []
    for start in range(0, len(distinct), size):
        kept = [entry.candidate for entry in cut(rank([*kept, *distinct[start : start + size]], rules, seed), rules)]
    audits = [candidate for candidate in distinct if candidate.audit]
    assert told(choose([*kept, *audits], rules, (), seed))[: len(choose(distinct, rules, (), seed).choices)] == [
        entry for entry in told(choose(distinct, rules, (), seed)) if len(entry) == 4
    ]


@given(pools(), st.integers(0, 12), st.sampled_from(STRATEGIES), st.integers(0, 99))
def test_without_spread_nothing_left_out_ranks_above_what_is_chosen(pool: list[Candidate], budget: int, measure: str, seed: int) -> None:
    rules = Rules(budget, uncertainty=measure, spread=0, distance=0.0)
    scores = [choice.scores["uncertainty"] for choice in choose(pool, rules, (), seed).choices if choice.reason != "audit"]
    every = [c.scores["uncertainty"] for c in choose(pool, replace(rules, budget=len(pool)), (), seed).choices if c.reason != "audit"]
    assert scores == every[:budget]
    assert every == sorted(every, reverse=True)


@given(pools(), rules_of_all_kinds, st.integers(0, 99))
@few
def test_of_two_twins_at_most_one_is_chosen(pool: list[Candidate], rules: Rules, seed: int) -> None:
    rules = replace(rules, distance=0.05)
    others = [choice.candidate for choice in choose(pool, rules, (), seed).choices if choice.reason != "audit"]
    again = choose(others, replace(rules, budget=len(others), drift=99, novelty=99, sources={}, labels={}), (), seed)
    assert [entry for entry in again.left_out if entry.why == "near_duplicate"] == []


def test_an_image_like_one_that_is_queued_stands_back_and_one_with_a_scratch_does_not() -> None:
    place, image = np.zeros(2, np.float32), (one(0.5),)
    known = [Known(77, "a", place, image)]
    scratched = (*image, Found("scratch", 0.45, (50, 50, 60, 60)))
    pool = [alone(1, found=image, descriptor=place), alone(2, found=scratched, descriptor=place)]
    selection = choose(pool, Rules(10), known)
    assert chosen(selection) == [2]
    assert [(entry.candidate.capture_id, entry.why, entry.of) for entry in selection.left_out] == [(1, "near_duplicate", 77)]


def test_more_doubt_ranks_higher_and_certain_images_are_left_out() -> None:
    pool = [alone(1, 0.69), alone(2, 0.5), alone(3, 0.5, 0.5), alone(4, 0.99), alone(5), alone(6, found=None), alone(7, 0.3)]
    selection = choose(pool, Rules(10, spread=0))
    assert chosen(selection) == [3, 2, 1, 7]
    assert {entry.candidate.capture_id: entry.why for entry in selection.left_out} == {4: "certain", 5: "certain", 6: "not_looked_at"}
    assert chosen(choose(pool, Rules(10, spread=0, least=EMPTY)))[-1] == 5, "nothing found is a doubt, the last of all"
    assert {entry.why for entry in choose(pool[:2], Rules(1)).left_out} == {"budget"}


def test_a_weak_model_that_reaches_the_band_nowhere_still_gives_a_rank() -> None:
    assert chosen(choose([alone(n, 0.2 + n / 100) for n in range(1, 6)], Rules(3, spread=0))) == [5, 4, 3]


def test_a_drifted_source_and_what_is_far_have_a_part_of_the_budget() -> None:
    doubtful = [alone(n, 0.5) for n in range(1, 21)]
    drifted = [alone(n, 0.9, source="dark", drifted=True) for n in range(21, 31)]
    far = [alone(n, 0.95, novelty=2.0) for n in range(31, 41)]
    selection = choose([*doubtful, *drifted, *far], Rules(10, drift=3, novelty=2, distance=0))
    assert Counter(choice.reason for choice in selection.choices) == {"drift": 3, "novelty": 2, "low_confidence": 5}
    assert all(choice.candidate in drifted for choice in selection.choices if choice.reason == "drift")
    assert Counter(choice.reason for choice in choose(doubtful, Rules(10, drift=3, novelty=2, distance=0)).choices) == {
        "low_confidence": 10
    }


def test_quotas_leave_room_for_others() -> None:
    pool = [alone(n, 0.5) for n in range(1, 51)] + [alone(n, 0.4, source="b") for n in range(51, 56)]
    pool += [alone(n, found=(one(0.3, "short"),), source="c") for n in range(56, 60)]
    selection = choose(pool, Rules(12, distance=0, sources={"a": 6, "*": 3}))
    assert Counter(choice.candidate.source for choice in selection.choices) == {"a": 6, "b": 3, "c": 3}
    assert Counter(choice.scores["label"] for choice in choose(pool, Rules(8, distance=0, labels={"open": 5})).choices) == {
        "open": 5,
        "short": 3,
    }
    assert "source_quota" in {entry.why for entry in selection.left_out}


def test_the_spread_takes_the_kinds_of_the_top_and_not_the_top_of_one_kind() -> None:
    rng = np.random.default_rng(5)
    centres = rng.normal(0, 10, (8, 4))
    kinds = [0] * 33 + list(range(1, 8))
    pool = [
        alone(n, 0.5 - n / 1000, embedding=(centres[kind] + rng.normal(0, 0.1, 4)).astype(np.float32))
        for n, kind in enumerate(kinds, start=1)
    ]
    by_rank, spread_out = (choose(pool, Rules(10, spread=times, distance=0)) for times in (0, 4))
    assert {kinds[number - 1] for number in chosen(by_rank)} == {0}
    assert {kinds[number - 1] for number in chosen(spread_out)} == set(range(8))


def test_of_captures_that_share_an_image_the_audited_one_stands_for_it() -> None:
    pool = [replace(alone(1, 0.5), image_id=9, audit=True), replace(alone(2, 0.5), image_id=9)]
    selection = choose(pool, Rules(10))
    assert [(choice.candidate.capture_id, choice.reason) for choice in selection.choices] == [(1, "audit")]
    assert [(entry.candidate.capture_id, entry.why) for entry in selection.left_out] == [(2, "same_image")]


def test_an_audit_says_with_which_chance_it_was_drawn_and_needs_no_model() -> None:
    pool = [alone(1, 0.99, audit=True, propensity=0.1), alone(2, found=None, audit=True, propensity=0.1)]
    known, unknown = choose(pool[::-1], Rules(0)).choices[::-1]
    assert (known.scores["propensity"], unknown.scores) == (0.1, {"propensity": 0.1})
    assert known.scores["top_confidence"] == 0.99


@given(pools(looked_at=False), st.integers(0, 12), quotas, st.integers(0, 2**40))
@few
def test_a_first_batch_takes_the_audits_and_no_more_than_its_size(
    pool: list[Candidate], budget: int, sources: dict[str, int], seed: int
) -> None:
    rules = Rules(budget, sources=sources)
    selection = choose_first(pool, rules, seed)
    spread_out = [choice for choice in selection.choices if choice.reason == "novelty"]
    assert {candidate.image_id for candidate in pool if candidate.audit} == {
        c.candidate.image_id for c in selection.choices if c.reason == "audit"
    }
    assert len(spread_out) <= budget
    assert all(count <= rules.of_source(name) for name, count in Counter(choice.candidate.source for choice in spread_out).items())
    assert all(0 < choice.priority < 1 and choice.candidate.descriptor is not None for choice in spread_out)
    assert len(selection.choices) + len(selection.left_out) == len(pool)
    assert told(choose_first(pool[::-1], rules, seed)) == told(selection)


@given(pools(looked_at=False), st.integers(0, 2**40), st.integers(1, 7))
def test_drawing_by_lot_from_parts_draws_the_same(pool: list[Candidate], seed: int, size: int) -> None:
    distinct = list({candidate.image_id: candidate for candidate in pool}.values())
    kept: list[Candidate] = []
    for start in range(0, len(distinct), size):
        kept = drawn_by_lot([*kept, *distinct[start : start + size]], seed)
    assert kept == drawn_by_lot(distinct, seed)


@pytest.mark.parametrize(("size", "budget"), [(3, 5), (5, 5), (50, 5), (50, 0), (0, 5)])
def test_a_first_batch_of_images_that_differ_is_full(size: int, budget: int) -> None:
    pool = [alone(n, found=None, descriptor=np.array([n, n * n], np.float32)) for n in range(size)]
    assert len(choose_first(pool, Rules(budget), 1).choices) == min(size, budget)
