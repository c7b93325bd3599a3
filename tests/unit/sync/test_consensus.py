"""Consensus: whoever is asked first, the same comes out; equal drawings give themselves; no box leaves the ones that it is made of."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box
from sync.review.consensus import consensus, overlap

Drawing = list[LabelledBox]
EDGES = st.floats(0, 500, allow_nan=False)


def drawn(x: float, y: float = 0, size: float = 10, label: str = "open") -> LabelledBox:
    return LabelledBox(label, Box(x, y, x + size, y + size))


@st.composite
def boxes(draw: st.DrawFn) -> LabelledBox:
    x, y, width, height = draw(EDGES), draw(EDGES), draw(st.floats(1, 80)), draw(st.floats(1, 80))
    return LabelledBox(draw(st.sampled_from(["open", "short"])), Box(x, y, x + width, y + height))


@st.composite
def shaken(draw: st.DrawFn) -> list[Drawing]:
    """What several people draw of the same things, each with a hand that shakes a little."""
    things = draw(st.lists(boxes(), max_size=4))
    shake = st.floats(-0.5, 0.5)
    people = draw(st.integers(2, 4))
    return [[_shaken(thing, [draw(shake) for _ in range(4)]) for thing in draw(st.permutations(things))] for _ in range(people)]


def _shaken(thing: LabelledBox, by: list[float]) -> LabelledBox:
    box = thing.box
    scale = min(box.width, box.height)
    edges = (edge + step * scale / 2 for edge, step in zip(box.as_tuple(), by, strict=True))
    return LabelledBox(thing.label, Box(*edges))


def content(drawing: Drawing | None) -> Any:
    return drawing if drawing is None else sorted((box.label, box.box.as_tuple()) for box in drawing)


@given(st.lists(st.lists(boxes(), max_size=4), min_size=2, max_size=4) | shaken(), st.sampled_from([0.3, 0.5, 0.8]), st.randoms())
def test_order_does_not_matter(drawings: list[Drawing], iou: float, random: Any) -> None:
    shuffled = [random.sample(drawing, len(drawing)) for drawing in random.sample(drawings, len(drawings))]
    assert content(consensus(shuffled, iou)) == content(consensus(drawings, iou))


@given(st.lists(boxes(), max_size=5), st.integers(1, 4), st.sampled_from([0.3, 0.5, 1.0]), st.randoms())
def test_equal_drawings_give_themselves(drawing: Drawing, people: int, iou: float, random: Any) -> None:
    same = [random.sample(drawing, len(drawing)) for _ in range(people)]
    assert content(consensus(same, iou)) == content(drawing)


@given(shaken(), st.sampled_from([0.1, 0.3, 0.5]))
def test_every_box_lies_within_those_that_it_is_made_of(drawings: list[Drawing], iou: float) -> None:
    found = consensus(drawings, iou)
    assume(found is not None)
    assert found is not None
    assert len(found) == len(drawings[0])
    for box in found:
        near = [other.box for drawing in drawings for other in drawing if other.label == box.label and overlap(other.box, box.box) > 0]
        for edge in range(4):
            edges = [other.as_tuple()[edge] for other in near]
            assert min(edges) <= box.box.as_tuple()[edge] <= max(edges)


def test_two_hands_make_the_mean_and_three_the_middle() -> None:
    assert content(consensus([[drawn(0)], [drawn(2)]], 0.5)) == [("open", (1, 0, 11, 10))]
    assert content(consensus([[drawn(0)], [drawn(1)], [drawn(3)]], 0.5)) == [("open", (1, 0, 11, 10))]


@pytest.mark.parametrize(
    "other",
    [[], [drawn(0), drawn(40)], [drawn(6)], [drawn(0, label="short")]],
    ids=["a box less", "a box more", "too far away", "another label"],
)
def test_what_differs_is_no_consensus(other: Drawing) -> None:
    assert consensus([[drawn(0)], other], 0.5) is None


@given(st.lists(st.floats(0, 60), min_size=2, max_size=5), st.sampled_from([0.3, 0.5, 0.7]))
def test_of_one_thing_all_pairs_must_overlap_enough(places: list[float], iou: float) -> None:
    """Not each with its next alone: a chain of small steps leads anywhere."""
    alone = [[drawn(x, size=100)] for x in places]
    agree = all(overlap(one.box, other.box) >= iou for [one], [other] in combinations(alone, 2))
    assert (consensus(alone, iou) is not None) == agree


def test_a_chain_is_no_consensus() -> None:
    chain = [[drawn(x, size=100)] for x in (0, 17, 34)]
    assert [consensus(pair, 0.7) is not None for pair in combinations(chain, 2)] == [True, False, True]
    assert consensus(chain, 0.7) is None


def test_nothing_there_is_a_consensus_too() -> None:
    assert consensus([[], []], 0.5) == []


def test_neighbours_are_told_apart_by_the_closest() -> None:
    first, second = [drawn(0), drawn(4)], [drawn(5), drawn(1)]
    assert content(consensus([first, second], 0.3)) == [("open", (0.5, 0, 10.5, 10)), ("open", (4.5, 0, 14.5, 10))]
