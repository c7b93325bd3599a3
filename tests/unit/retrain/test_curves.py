"""Curves and confusion agree with the counts and scores that they show."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import Box
from retrain.gate.curves import SHOWN, confusion, precision_recall
from retrain.gate.precision import match

LABELS = ("disc", "square")
BOXES = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h), st.integers(0, 60), st.integers(0, 60), st.integers(5, 40), st.integers(5, 40)
)
TRUE = st.lists(st.builds(LabelledBox, st.sampled_from(LABELS), BOXES), max_size=4)
FOUND = st.lists(
    st.builds(lambda label, box, confidence: Detection(label, box, confidence), st.sampled_from(LABELS), BOXES, st.floats(0.01, 1)),
    max_size=5,
)
IMAGES = st.lists(st.tuples(TRUE, FOUND), min_size=1, max_size=4)


@given(IMAGES)
def test_every_box_and_every_shown_detection_is_counted_once(images: list[Any]) -> None:
    truths, found = [true for true, _ in images], [seen for _, seen in images]
    counts = confusion(truths, found, LABELS)
    for number, label in enumerate(LABELS):
        assert counts[number].sum() == sum(box.label == label for boxes in truths for box in boxes)
        assert counts[:, number].sum() == sum(item.label == label and item.confidence >= SHOWN for seen in found for item in seen)
    assert counts[-1, -1] == 0


@given(st.lists(TRUE, min_size=1, max_size=4))
def test_who_sees_all_confuses_nothing(truths: list[Any]) -> None:
    found = [[Detection(box.label, box.box, 0.9) for box in boxes] for boxes in truths]
    counts = confusion(truths, found, LABELS)
    apart = [{box.box.as_tuple() for box in boxes} for boxes in truths]
    if all(len(boxes) == len(places) for boxes, places in zip(truths, apart, strict=True)):
        assert counts[-1].sum() == counts[:, -1].sum() == 0


@given(IMAGES)
@settings(max_examples=50)
def test_a_curve_ends_at_the_share_of_boxes_that_were_found(images: list[Any]) -> None:
    matches = match([true for true, _ in images], [seen for _, seen in images], LABELS)
    for number in range(len(LABELS)):
        recall, precision = precision_recall(matches, number)
        boxes, mine = matches.truths[number].sum(), matches.label == number
        if not boxes:
            assert not len(recall)
        elif mine.any():
            assert recall[-1] == matches.hit[mine].sum() / boxes
            assert ((precision >= 0) & (precision <= 1)).all() and (np.diff(recall) >= 0).all()
