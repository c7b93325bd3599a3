"""Detections and class maps in and out of JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.errors import ModelError
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import Box

edges = st.floats(0, 10_000)
a_box = st.builds(Box, edges, edges, edges, edges)
names = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=6).map(tuple)


@given(st.builds(Detection, st.text(), a_box, st.floats(0, 1)))
def test_a_detection_survives_json_up_to_its_rounding(detection: Detection) -> None:
    back = Detection.from_dict(json.loads(json.dumps(detection.as_dict())))

    assert back.label == detection.label
    assert back.box.as_tuple() == pytest.approx(detection.box.as_tuple(), abs=0.00501)
    assert back.confidence == pytest.approx(detection.confidence, abs=0.0000051)
    assert Detection.from_dict(back.as_dict()) == back


@given(st.builds(LabelledBox, st.text(), a_box, st.text(), st.text()))
def test_a_labelled_box_survives_json_unchanged(box: LabelledBox) -> None:
    assert LabelledBox.from_dict(json.loads(json.dumps(box.as_dict()))) == box


def test_a_detection_in_json() -> None:
    assert Detection("car", Box(1.005, 2, 30.12345, 40), 0.123456789).as_dict() == {
        "label": "car",
        "box": [1.0, 2, 30.12, 40],
        "confidence": 0.12346,
    }


@given(names, names)
def test_extending_never_moves_a_class(known: tuple[str, ...], more: tuple[str, ...]) -> None:
    before, after = ClassMap(known), ClassMap(known).extended(more)

    assert after.labels[: len(before)] == before.labels
    assert set(after.labels) == {*known, *more}
    assert after.extended(more) == after
    assert [after.label_of(after.id_of(label)) for label in more] == list(more)


@given(names, names)
def test_digests_are_equal_exactly_when_maps_are(a: tuple[str, ...], b: tuple[str, ...]) -> None:
    assert (ClassMap(a).digest == ClassMap(b).digest) == (a == b)
    assert ClassMap.from_dict(json.loads(json.dumps(ClassMap(a).as_dict()))) == ClassMap(a)


def test_order_is_part_of_the_digest() -> None:
    assert ClassMap(("car", "person")).digest != ClassMap(("person", "car")).digest


@pytest.mark.parametrize("labels", [("car", "car"), ("car", "")])
def test_a_map_with_repeated_or_empty_labels_is_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="empty or repeated"):
        ClassMap(labels)


def test_unknown_labels_and_ids_are_refused() -> None:
    with pytest.raises(ModelError, match="no label 'bus'"):
        ClassMap(("car",)).id_of("bus")
    for class_id in (-1, 1):
        with pytest.raises(ModelError, match="no id"):
            ClassMap(("car",)).label_of(class_id)
