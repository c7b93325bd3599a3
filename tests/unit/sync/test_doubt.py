"""Doubt: what was planted is found where the model sees all, and a label that the model agrees with is not doubted."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import Box
from sync.doubt import KINDS, doubt, in_words
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


@given(seeds, st.sampled_from(PLANTED))
def test_every_planted_error_is_the_strongest_fault_of_its_label(seed: int, kind: str) -> None:
    truth = board(seed)
    spoilt = plant(truth, kind, LABELS, np.random.default_rng(seed))
    found = doubt(spoilt.boxes, seen(truth))
    assert found.score <= 0.1 and found.faults[0].kind in FOUND_AS[kind]
    assert doubt(truth, seen(truth)).score >= 0.9


@given(seeds, st.floats(0.06, 0.99), st.floats(0.06, 0.99))
def test_the_surer_the_model_the_greater_the_doubt(seed: int, one: float, other: float) -> None:
    truth = board(seed)
    spoilt = plant(truth, "removed", LABELS, np.random.default_rng(seed))
    weak, strong = sorted((one, other))
    rest = [Detection(box.label, box.box, 0.99) for box in truth if box != spoilt.was]

    def score(confidence: float) -> float:
        return doubt(spoilt.boxes, [*rest, Detection(spoilt.was.label, spoilt.was.box, confidence)]).score

    assert score(strong) <= score(weak)


@given(seeds, seeds, st.floats(0.06, 1))
def test_a_score_is_a_share_and_no_order_matters(seed: int, other: int, confidence: float) -> None:
    boxes, detections = board(seed), seen(board(other), confidence)
    found = doubt(boxes, detections)
    assert 0 <= found.score <= 1
    assert all(0 <= fault.score <= 1 and fault.kind in KINDS for fault in found.faults)
    assert doubt(boxes[::-1], detections[::-1]).score == pytest.approx(found.score)


def test_nothing_there_and_nothing_seen_is_no_fault() -> None:
    found = doubt([], [])
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
    found = doubt(drawn, [Detection(label, square(place), sure) for label, place, sure in detections])
    assert in_words([asdict(fault) for fault in found.faults]) == words
