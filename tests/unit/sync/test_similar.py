"""Twins: alike in looks and in what is seen; a scratch is seen, and that is enough to be no twin."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sync.selection.candidate import Candidate
from sync.selection.score import Found
from sync.selection.similar import TOLERANCE, Known, Seen, agree, twins
from tests.unit.sync.test_score import images, one

DISTANCE = 0.05
vectors = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda pair: np.array(pair, np.float32) / 50)
sights = st.builds(
    lambda number, source, vector, found: Candidate(number, number, source, False, found, vector),
    st.integers(1, 99), st.sampled_from("ab"), st.none() | vectors, st.none() | images,
)  # fmt: skip


def sight(number: int, *found: Found, source: str = "a", at: float = 0) -> Candidate:
    return Candidate(number, number, source, False, found, np.array([at, 0], np.float32))


@given(sights, sights)
def test_being_twins_has_no_direction(a: Candidate, b: Candidate) -> None:
    assert twins(a, b, DISTANCE) == twins(b, a, DISTANCE)


@given(sights)
def test_whoever_was_looked_at_is_like_itself(a: Candidate) -> None:
    assert twins(a, a, DISTANCE) == (a.descriptor is not None and a.detections is not None)
    assert not twins(a, a, 0)


@given(images, st.floats(TOLERANCE + 0.01, 1))
def test_a_scratch_that_only_one_of_two_shows_makes_them_different(image: tuple[Found, ...], confidence: float) -> None:
    scratch = Found("scratch", confidence, (200, 200, 220, 204))
    assert twins(sight(1, *image), sight(2, *image), DISTANCE)
    assert not twins(sight(1, *image), sight(2, *image, scratch), DISTANCE)


def test_what_makes_a_difference() -> None:
    a = sight(1, one(0.6))
    assert twins(a, sight(2, one(0.7)), DISTANCE)
    assert twins(a, sight(2, one(0.6), one(0.1, "short", 50)), DISTANCE), "a box that is hardly there does not count"
    for other in (
        sight(2, one(0.8)), sight(2, one(0.6, "short")), sight(2, one(0.6, at=8)), sight(2), sight(2, one(0.6), source="b"),
        sight(2, one(0.6), at=0.1), Candidate(2, 2, "a", False, None, a.descriptor), Candidate(2, 2, "a", False, a.detections, None),
    ):  # fmt: skip
        assert not twins(a, other, DISTANCE)


def test_what_a_person_drew_has_no_confidence() -> None:
    drawn = Known(9, "a", np.zeros(2, np.float32), (one(1.0),), drawn=True)
    assert agree(sight(1, one(0.4)), drawn)
    assert not agree(sight(1), drawn)
    assert not agree(sight(1, one(0.4), one(0.4, "short", 50)), drawn)


@given(st.lists(sights, max_size=12), sights)
def test_looking_among_many_finds_what_comparing_with_each_finds(many: list[Candidate], asked: Candidate) -> None:
    seen = Seen(DISTANCE, many[::2])
    for other in many[1::2]:
        seen.near(asked)
        seen.add(other)
    found = seen.twin(asked)
    each = [other.image_id for other in many if twins(asked, other, DISTANCE)]
    assert (found.image_id if found else None) == min(each, default=None)
