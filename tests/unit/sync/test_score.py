"""Scores: between 0 and 1, highest in the middle, and moved by number alone as little as the docstrings say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.selection.score import EMPTY, MEASURES, Found, Scale, bits, expected_errors, margin, most_doubtful, overlap, uncertainty

labels = st.sampled_from(("open", "short", "mouse_bite"))
corners = st.tuples(st.integers(0, 90), st.integers(0, 90), st.integers(1, 40), st.integers(1, 40))
boxes = corners.map(lambda c: (float(c[0]), float(c[1]), float(c[0] + c[2]), float(c[1] + c[3])))
found = st.builds(Found, labels, st.floats(0, 1), boxes)
images = st.lists(found, max_size=8).map(tuple)
weights = st.dictionaries(st.sampled_from(("open", "short", "*")), st.floats(0, 1))
scales = st.builds(lambda edges, weights: Scale(min(edges), max(edges), weights), st.tuples(st.floats(0, 1), st.floats(0, 1)), weights)
measures = st.sampled_from(sorted(MEASURES))


def one(confidence: float, label: str = "open", at: float = 0) -> Found:
    return Found(label, confidence, (at, 0, at + 10, 10))


@given(images, measures, scales)
def test_every_score_lies_between_0_and_1_and_says_the_same_in_any_order(image: tuple[Found, ...], measure: str, scale: Scale) -> None:
    score = uncertainty(image, measure, scale)
    assert 0 <= score <= 1
    assert uncertainty(image[::-1], measure, scale) == pytest.approx(score)


@given(measures, st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_lone_box_is_most_doubtful_in_the_middle(measure: str, near: float, far: float) -> None:
    near, far = sorted((near, far))
    above = [uncertainty((one(0.5 + distance),), measure) for distance in (near, far)]
    assert above[0] >= above[1] - 1e-9
    if measure != "least_confidence":  # which asks how sure a box is, not how near to a coin's toss
        below = [uncertainty((one(0.5 - distance),), measure) for distance in (near, far)]
        assert below[0] >= below[1] - EMPTY


@given(images, st.floats(0.5, 1), st.floats(0.5, 1), scales)
def test_a_surer_box_never_raises_the_errors_expected(image: tuple[Found, ...], a: float, b: float, scale: Scale) -> None:
    unsure, sure = (expected_errors((*image, one(value)), scale) for value in sorted((a, b)))
    assert sure <= unsure + 1e-9


@given(images, st.integers(2, 50))
def test_a_crowd_wins_by_its_doubt_and_not_by_its_number(image: tuple[Found, ...], times: int) -> None:
    """However often the same boxes are there, the score stays below the errors' share in the work on a box."""
    errors, objects = sum(min(item.confidence, 1 - item.confidence) for item in image), sum(item.confidence for item in image)
    ceiling = errors / (errors + 0.3 * objects) if errors else 0
    assert expected_errors(image) <= expected_errors(image * times) + 1e-9 <= ceiling + 2e-9


def test_one_box_in_doubt_comes_before_a_crowd_of_sure_ones_and_after_a_crowd_in_doubt() -> None:
    crowd = [tuple(one(value, at=20 * n) for n in range(20)) for value in (0.95, 0.5)]
    sure, lone, unsure = (expected_errors(image, Scale(0.4, 0.7)) for image in (crowd[0], (one(0.5),), crowd[1]))
    assert sure < lone < unsure


@given(st.floats(0, 1), st.floats(0, 1), scales)
def test_the_band_has_no_edge_that_takes_all_or_nothing(value: float, other: float, scale: Scale) -> None:
    """Where the band has a width to fall off in, nearby confidences count nearly the same."""
    slope = max((1 / width for width in (scale.low, 1 - scale.high) if width > 0.01), default=0)
    if all(edge == 0 or edge > 0.01 for edge in (scale.low, 1 - scale.high)):
        assert abs(scale.of(one(value)) - scale.of(one(other))) <= slope * abs(value - other) + 1e-9
    assert not scale.holds(one(value)) or scale.of(one(value)) == scale.of(one((scale.low + scale.high) / 2))


@given(images, measures, st.floats(0, 1))
def test_a_label_that_weighs_less_never_raises_a_score(image: tuple[Found, ...], measure: str, weight: float) -> None:
    assert uncertainty(image, measure, Scale(weights={"open": weight})) <= uncertainty(image, measure) + 1e-9


@given(measures, scales)
def test_an_image_in_which_nothing_was_found_is_not_the_most_doubtful(measure: str, scale: Scale) -> None:
    assert uncertainty((), measure, scale) == EMPTY
    assert uncertainty((one(0.5),), measure, Scale(0.4, 0.7)) > EMPTY
    assert uncertainty((one(0.95),), "expected_errors", Scale(0.4, 0.7)) <= EMPTY


@given(measures, st.floats(0, 0.001))
def test_a_box_that_is_hardly_there_changes_little(measure: str, value: float) -> None:
    if measure != "least_confidence":
        assert uncertainty((one(value),), measure, Scale(0.4, 0.7)) == pytest.approx(EMPTY, abs=0.001)


def test_two_labels_for_one_place_are_a_narrow_margin() -> None:
    alone, rivals = (one(0.9),), (one(0.9), one(0.85, "short"))
    assert margin(alone) == pytest.approx(0.2)
    assert margin(rivals) == pytest.approx(0.9 * 0.95)
    assert margin((one(0.9), one(0.85, "short", at=50))) == pytest.approx(0.3), "another place is no rival"
    assert margin((one(0.9), one(0.85))) == pytest.approx(0.3), "nor is the same label"


def test_an_image_is_chosen_for_its_most_doubtful_label() -> None:
    image = (one(0.95), one(0.6, "short"), one(0.1, "mouse_bite"))
    assert most_doubtful(image) == "short"
    assert most_doubtful(image, Scale(weights={"short": 0.0})) == "mouse_bite"
    assert most_doubtful(()) == ""


@given(st.floats(0, 1))
def test_entropy_is_that_of_a_coin(chance: float) -> None:
    assert 0 <= bits(chance) <= 1
    assert bits(chance) == pytest.approx(bits(1 - chance), abs=1e-9)
    assert (bits(0), bits(0.5), bits(1)) == (0, 1, 0)


@given(boxes, boxes)
def test_overlap_is_symmetric_and_1_for_itself(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    assert overlap(a, b) == pytest.approx(overlap(b, a))
    assert 0 <= overlap(a, b) <= 1
    assert overlap(a, a) == pytest.approx(1)
