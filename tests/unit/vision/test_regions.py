"""Detections to regions, of every kind of tag, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface import LabelInterface

from labelwheel.vision.detection import Detection, Keypoint, Point
from labelwheel.vision.drawn import from_regions
from labelwheel.vision.geometry import Box, Rotated, percent_to_corners
from labelwheel.vision.label_config import ControlTag, LabelRule, Slot, parse
from labelwheel.vision.pre_annotation import Sight, pre_annotation
from labelwheel.vision.regions import prediction_score, to_regions

TAG = ControlTag("RectangleLabels", "label", "image", "image", ("car", "person"))


def test_a_region_as_label_studio_wants_it() -> None:
    [region] = to_regions([Detection("car", Box(64, 96, 256, 216), 0.37)], [TAG], 640, 480, 0.25)

    assert region.pop("id")
    assert region == {
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 640,
        "original_height": 480,
        "image_rotation": 0,
        "value": {"x": 10, "y": 20, "width": 30, "height": 25, "rotation": 0, "rectanglelabels": ["car"]},
        "score": 0.37,
    }


def test_only_known_labels_at_or_above_the_threshold_are_shown_in_the_tags_spelling() -> None:
    detections = [Detection(label, Box(0, 0, 9, 9), confidence) for label, confidence in [("Car", 0.5), ("bus", 0.9), ("person", 0.49)]]

    assert [region["value"]["rectanglelabels"] for region in to_regions(detections, [TAG], 640, 480, 0.5)] == [["car"]]


def test_ids_follow_from_the_content_and_are_unique() -> None:
    detections = [Detection("car", Box(0, 0, 9, 9), 0.5), Detection("car", Box(0, 0, 9, 8), 0.5), Detection("person", Box(0, 0, 9, 9), 0.5)]
    ids = [region["id"] for region in to_regions([*detections, detections[0]], [TAG], 640, 480, 0)]

    assert len(ids) == len(set(ids)) == 3
    assert sorted(ids) == sorted(region["id"] for region in to_regions(detections[::-1], [TAG], 640, 480, 0))


def test_each_tag_shows_what_it_knows_from_its_own_threshold_on() -> None:
    wide = ControlTag("RectangleLabels", "wide", "image", "image", ("vehicle",), rules=(LabelRule("vehicle", ("CAR", "lorry"), 0.8),))
    strict = replace(TAG, threshold=0.6)
    detections = [Detection(label, Box(0, 0, 9, 9), confidence) for label, confidence in [("car", 0.7), ("Lorry", 0.9), ("person", 0.5)]]
    shown = [(entry["from_name"], entry["value"]["rectanglelabels"][0]) for entry in to_regions(detections, [strict, wide], 640, 480, 0.1)]
    assert shown == [("label", "car"), ("wide", "vehicle")]
    assert prediction_score(detections, [strict, wide], 0.1) == pytest.approx(0.8)
    assert prediction_score(detections, [replace(wide, rules=(LabelRule("vehicle", ("lorry",), 0.95),))], 0.1) == pytest.approx(0.1)
    assert to_regions(detections, [replace(TAG, skip=True)], 640, 480, 0) == []


def test_what_lies_outside_is_cut_off_or_left_out() -> None:
    detections = [Detection("car", Box(-64, 0, 64, 48), 0.5), Detection("car", Box(700, 0, 800, 48), 0.5)]
    [region] = to_regions(detections, [TAG], 640, 480, 0)

    assert (region["value"]["x"], region["value"]["width"]) == (0, 10)


@st.composite
def placed(draw: st.DrawFn) -> tuple[list[Detection], int, int]:
    width, height = draw(st.integers(20, 6000)), draw(st.integers(20, 6000))
    found = []
    for _ in range(draw(st.integers(0, 5))):
        left, top = draw(st.floats(0, width - 5)), draw(st.floats(0, height - 5))
        box = Box(left, top, draw(st.floats(left + 1, width)), draw(st.floats(top + 1, height)))
        found.append(Detection(draw(st.sampled_from(TAG.labels)), box, draw(st.floats(0, 1))))
    return found, width, height


@given(placed())
def test_a_prediction_accepted_untouched_comes_back_as_its_boxes(case: tuple[list[Detection], int, int]) -> None:
    detections, width, height = case
    regions = to_regions(detections, [TAG], width, height, 0)
    boxes, exclusions = from_regions([{**region, "origin": "prediction"} for region in regions], [TAG], width, height)
    distinct = list({str(detection.as_dict()): detection for detection in detections}.values())

    assert not exclusions
    assert [box.label for box in boxes] == [detection.label for detection in distinct]
    assert [box.region_id for box in boxes] == [region["id"] for region in regions]
    for box, detection in zip(boxes, distinct, strict=True):
        # Percent with five places: a millionth of the side, far below a hundredth of a pixel's worth of ids.
        assert box.box.as_tuple() == pytest.approx(detection.box.as_tuple(), abs=0.02)


@pytest.mark.parametrize(
    ("confidences", "score"),
    [([], 1.0), ([0.1, 0.2], 0.8), ([0.5, 0.7, 0.1], 0.6), ([0.25], 0.25)],
)
def test_the_score_is_how_sure_the_model_is_of_what_it_shows(confidences: list[float], score: float) -> None:
    detections = [Detection("car", Box(0, 0, 9, 9), confidence) for confidence in confidences]
    assert prediction_score(detections, [TAG], 0.25) == pytest.approx(score)


def test_a_turned_rectangle_keeps_its_turn() -> None:
    detection = Detection("car", Box(0, 0, 200, 200), 0.5, rotated=Rotated(100, 100, 80, 40, 30))
    [region] = to_regions([detection], [TAG], 400, 200, 0)
    place = [region["value"][key] for key in ("x", "y", "width", "height", "rotation")]
    assert percent_to_corners(*place, 400, 200) == pytest.approx(detection.rotated.corners(), abs=1e-3)  # type: ignore[union-attr]
    assert region["value"]["rotation"] == 30


def test_a_turned_rectangle_at_the_edge_is_named_by_a_corner_that_label_studio_takes() -> None:
    detection = Detection("car", Box(0, 0, 200, 200), 0.5, rotated=Rotated(195, 100, 20, 40, 80))
    [region] = to_regions([detection], [TAG], 200, 200, 0)
    place = [region["value"][key] for key in ("x", "y", "width", "height", "rotation")]
    assert max(place[:4]) <= 100 < 100 * detection.rotated.corners()[0][0] / 200  # type: ignore[union-attr]
    assert sorted(percent_to_corners(*place, 200, 200).tolist()) == pytest.approx(
        np.array(sorted(detection.rotated.corners().tolist())), abs=1e-3
    )  # type: ignore[union-attr]


def test_a_turned_rectangle_longer_than_the_image_is_shown_by_its_box() -> None:
    detection = Detection("car", Box(0, 0, 100, 100), 0.5, rotated=Rotated(50, 50, 130, 4, 45))
    [region] = to_regions([detection], [TAG], 100, 100, 0)
    assert region["value"] == {"x": 0, "y": 0, "width": 100, "height": 100, "rotation": 0, "rectanglelabels": ["car"]}


POLYGONS = ControlTag("PolygonLabels", "outline", "image", "image", ("car", "person"))
POINTS = ControlTag("KeyPointLabels", "points", "image", "image", ("nose", "tail"))
GRADE = ControlTag("Choices", "grade", "image", "image", ("good", "bad"))


def test_an_outline_is_drawn_in_percent_where_a_polygon_tag_asks_for_it() -> None:
    detection = Detection("car", Box(0, 0, 100, 100), 0.5, polygon=(Point(0, 0), Point(100, 0), Point(50, 50)))
    plain = Detection("person", Box(0, 0, 9, 9), 0.9)
    box, outline, other = to_regions([detection, plain], [TAG, POLYGONS], 200, 100, 0)

    assert (box["type"], other["type"]) == ("rectanglelabels", "rectanglelabels")
    assert outline["value"] == {"points": [[0, 0], [50, 0], [25, 50]], "closed": True, "polygonlabels": ["car"]}
    assert prediction_score([detection, plain], [POLYGONS], 0.25) == 0.5


def skeleton(confidence: float = 0.9, nose: float = 0.8, tail: float = 0.3) -> Detection:
    return Detection("dog", Box(0, 0, 100, 50), confidence, keypoints=(Keypoint("Nose", 20, 10, nose), Keypoint("Tail", 80, 40, tail)))


def test_the_points_of_a_skeleton_hang_on_its_rectangle_from_their_own_threshold_on() -> None:
    boxes = replace(TAG, labels=("dog",))
    rectangle, nose = to_regions([skeleton()], [POINTS, boxes], 200, 100, 0.25)

    assert nose["parentID"] == rectangle["id"]
    assert (nose["type"], nose["score"]) == ("keypointlabels", 0.8)
    assert nose["value"] == {"x": 10, "y": 10, "width": 1, "keypointlabels": ["nose"]}
    assert len(to_regions([skeleton()], [replace(POINTS, point_threshold=0.2)], 200, 100, 0.25)) == 2
    assert "parentID" not in to_regions([skeleton()], [POINTS], 200, 100, 0.25)[0]


def test_an_object_that_is_not_shown_shows_no_points() -> None:
    assert to_regions([skeleton(0.2)], [POINTS], 200, 100, 0.25) == []
    assert to_regions([skeleton(0.2)], [replace(POINTS, threshold=0.1)], 200, 100, 0.25)
    assert prediction_score([skeleton(0.2)], [POINTS], 0.25) == pytest.approx(0.8)
    assert prediction_score([skeleton(0.2, nose=0.1, tail=0.1)], [POINTS], 0.25) == 1  # of what it cannot draw it claims nothing


def classes(**shares: float) -> list[Detection]:
    return [Detection(name, Box(0, 0, 200, 100), share, whole=True) for name, share in shares.items()]


@pytest.mark.parametrize(
    ("changes", "chosen", "score"),
    [
        ({}, ["bad"], 0.55),
        ({"several": True}, ["bad", "good"], 0.425),
        ({"threshold": 0.5, "several": True}, ["bad"], 0.55),
        ({"threshold": 0.9}, None, 0.55),
        ({"threshold": 0.9, "several": True}, None, 0.45),
        ({"rules": (LabelRule("good", ("dull",)),)}, ["bad"], 0.55),
        ({"rules": (LabelRule("bad", ("dull",)), LabelRule("good", threshold=0.1))}, ["bad"], 0.7),
    ],
)
def test_the_classes_of_an_image_answer_a_question(changes: dict[str, Any], chosen: list[str] | None, score: float) -> None:
    tag, found = replace(GRADE, **changes), classes(bad=0.55, good=0.3, dull=0.15)
    assert [region["value"]["choices"] for region in to_regions(found, [tag], 200, 100, 0.25)] == ([chosen] if chosen else [])
    assert prediction_score(found, [tag], 0.25) == pytest.approx(score)


def test_a_class_of_the_image_is_no_box_and_a_box_is_no_answer() -> None:
    tags = [replace(TAG, labels=("bad",)), replace(GRADE)]
    assert [region["type"] for region in to_regions(classes(bad=0.9), tags, 200, 100, 0.25)] == ["choices"]
    assert [region["type"] for region in to_regions([Detection("bad", Box(0, 0, 9, 9), 0.9)], tags, 200, 100, 0.25)] == ["rectanglelabels"]


CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="car"/><Label value="person"/></RectangleLabels>
<PolygonLabels name="outline" toName="image"><Label value="car"/><Label value="person"/></PolygonLabels>
<KeyPointLabels name="points" toName="image"><Label value="nose"/><Label value="tail"/></KeyPointLabels>
<Choices name="grade" toName="image" choice="multiple"><Choice value="good"/><Choice value="bad"/></Choices></View>"""


@given(placed(), st.floats(-45, 135), st.floats(0, 1))
def test_whatever_is_found_is_valid_for_label_studio(case: tuple[list[Detection], int, int], angle: float, share: float) -> None:
    found, width, height = case
    turned = [replace(item, rotated=Rotated(item.box.x1, item.box.y1, item.box.width, item.box.height, angle)) for item in found]
    outlined = [replace(item, polygon=(Point(item.box.x1, item.box.y1),) * 3) for item in found]
    posed = [replace(item, label="car", keypoints=skeleton().keypoints) for item in found]
    everything = [*found, *turned, *outlined, *posed, *classes(good=share, bad=1 - share)]
    tags = parse(CONFIG)
    given_sights = {("image", Slot()): Sight(everything, width, height)}
    body = pre_annotation(given_sights, tags, "v", 0)
    assert {region["type"] for region in body["result"]} <= {tag.result_type for tag in tags}
    assert LabelInterface(CONFIG).validate_prediction(body, return_errors=True) == []
    assert len({region["id"] for region in body["result"]}) == len(body["result"])
