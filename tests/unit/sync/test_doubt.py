"""Doubt: what was planted is found where the model sees all, and a label that the model agrees with is not doubted."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import Box
from sync.doubts.compare import KINDS, View, compare
from sync.doubts.doubt import doubt, doubt_each, in_words
from sync.doubts.experience import Experience, learn
from tests.fixtures.planted import KINDS as PLANTED
from tests.fixtures.planted import plant

LABELS = ("open", "short", "spur")
FOUND_AS = {"removed": ("overlooked",), "moved": ("misplaced", "overlooked", "extra"), "swapped": ("swapped",)}
seeds = st.integers(0, 2**32 - 1)


def board(seed: int, count: int = 6) -> list[LabelledBox]:
    """Boxes on a grid with room between them, as the defects of a board lie."""
    rng = np.random.default_rng(seed)
    boxes = []
    for number in rng.permutation(25)[:count]:
        x, y = 120 * (number % 5) + rng.uniform(10, 30), 120 * (number // 5) + rng.uniform(10, 30)
        boxes.append(LabelledBox(str(rng.choice(LABELS)), Box(x, y, x + rng.uniform(20, 60), y + rng.uniform(20, 60))))
    return boxes


def seen(boxes: list[LabelledBox], confidence: float = 0.95) -> list[Detection]:
    return [Detection(box.label, box.box, confidence) for box in boxes]


def usual() -> Experience:
    """A model that agrees with people, on forty boards."""
    return learn(compare(board(seed), seen(board(seed))) for seed in range(40))


USUAL = usual()


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from(PLANTED))
def test_every_planted_error_is_the_strongest_fault_of_its_label(seed: int, kind: str) -> None:
    truth = board(seed)
    spoilt = plant(truth, kind, LABELS, np.random.default_rng(seed))
    found = doubt(compare(spoilt.boxes, seen(truth)), USUAL)
    assert found.score <= 0.5
    assert found.faults[0].kind in FOUND_AS[kind]
    assert doubt(compare(truth, seen(truth)), USUAL).score == 1.0


@given(seeds, st.floats(0.06, 0.99), st.floats(0.06, 0.99))
def test_the_surer_the_model_the_greater_the_doubt(seed: int, one: float, other: float) -> None:
    truth = board(seed)
    spoilt = plant(truth, "removed", LABELS, np.random.default_rng(seed))
    weak, strong = sorted((one, other))
    rest = [Detection(box.label, box.box, 0.99) for box in truth if box != spoilt.was]

    def score(confidence: float) -> float:
        view = compare(spoilt.boxes, [*rest, Detection(spoilt.was.label, spoilt.was.box, confidence)])
        return doubt(view, learn([])).score

    assert score(strong) <= score(weak)


def haunted(share: float, count: int = 60) -> list[View]:
    """A model that agrees with people, but sees a ghost in the corner of this share of the boards."""
    ghost = Detection("open", Box(700, 700, 720, 720), 0.9)
    boards = [(board(seed), [ghost] * (seed % 100 < 100 * share)) for seed in range(count)]
    return [compare(boxes, [*seen(boxes, 0.9), *ghosts]) for boxes, ghosts in boards]


def test_a_model_that_often_sees_ghosts_is_doubted_instead() -> None:
    """The more often it saw what nobody drew, the less it means; a box that was overlooked is still told from them."""
    truth = board(1)
    ghost = compare(truth, [*seen(truth, 0.9), Detection("open", Box(700, 700, 720, 720), 0.9)])
    scores = [doubt(ghost, learn(haunted(share))).score for share in (0.0, 0.3, 1.0)]
    assert scores == sorted(scores)
    assert scores[-1] > 0.9 > 0.5 > scores[0]


def test_what_a_label_says_of_itself_does_not_count() -> None:
    """One board of sixty has a box too few: it is judged by the others."""
    views = {number: compare(board(number), seen(board(number), 0.9)) for number in range(60)}
    spoilt = plant(board(7), "removed", LABELS, np.random.default_rng(7))
    views[7] = compare(spoilt.boxes, seen(board(7), 0.9))
    judged = doubt_each(views, {})
    assert judged.keys() == views.keys()
    assert min(judged, key=lambda key: judged[key].score) == 7
    assert judged[7].score < 0.5


def test_from_few_labels_nothing_is_learnt() -> None:
    assert learn(compare(board(seed), seen(board(seed))) for seed in range(29)).classifier is None


@settings(max_examples=40, deadline=None)
@given(seeds, seeds, st.floats(0.06, 1))
def test_a_score_is_a_share_and_no_order_matters(seed: int, other: int, confidence: float) -> None:
    boxes, detections = board(seed), seen(board(other), confidence)
    found = doubt(compare(boxes, detections), USUAL)
    assert 0 <= found.score <= 1
    assert all(0 <= fault.score <= 1 and fault.kind in KINDS for fault in found.faults)
    assert doubt(compare(boxes[::-1], detections[::-1]), USUAL).score == pytest.approx(found.score)


@given(seeds, seeds)
def test_no_box_is_spoken_of_twice(seed: int, other: int) -> None:
    boxes, detections = board(seed), seen(board(other))
    view = compare(boxes, detections)
    spoken = [one.box for one in view.disagreements if one.box]
    assert len(view.agreed) + len(spoken) == len(boxes)
    assert len(set(spoken)) == len(spoken)


def test_nothing_there_and_nothing_seen_is_no_fault() -> None:
    found = doubt(compare([], []), USUAL)
    assert (found.score, found.faults, in_words([])) == (1.0, (), "nothing speaks against it")


@pytest.mark.parametrize(
    ("boxes", "detections", "words"),
    [
        ([], [("short", 100, 0.9)], "the model sees short (0.90) at 110, 110, where no box is"),
        ([("open", 100)], [("open", 108, 0.9)], "the model sees open (0.90) beside the box at 110, 110"),
        ([("open", 100)], [("short", 100, 0.9)], "the model sees short (0.90) at 110, 110, where the label says open"),
        ([("open", 100)], [], "the model sees nothing at 110, 110, where the label says open"),
    ],
)
def test_a_person_reads_what_and_where(boxes: list[tuple[str, float]], detections: list[tuple[str, float, float]], words: str) -> None:
    def square(place: float) -> Box:
        return Box(place, place, place + 20, place + 20)

    drawn = [LabelledBox(label, square(place)) for label, place in boxes]
    found = doubt(compare(drawn, [Detection(label, square(place), sure) for label, place, sure in detections]), learn([]))
    assert in_words([asdict(fault) for fault in found.faults]) == words
