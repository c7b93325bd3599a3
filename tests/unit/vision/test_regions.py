"""Detections to regions and back, and what a person can draw that is no label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import Box
from labelwheel.vision.label_config import ControlTag, LabelRule
from labelwheel.vision.regions import Exclusion, from_regions, prediction_score, to_regions

TAG = ControlTag("RectangleLabels", "label", "image", "image", ("car", "person"))


def drawn(**changes: Any) -> dict[str, Any]:
    """A region as Label Studio's editor submits it; `value` is merged, everything else replaced."""
    value = {"x": 10, "y": 20, "width": 30, "height": 25, "rotation": 0, "rectanglelabels": ["car"], **changes.pop("value", {})}
    region = {"id": "a", "from_name": "label", "to_name": "image", "type": "rectanglelabels", "origin": "manual", "image_rotation": 0}
    return {"original_width": 640, "original_height": 480, **region, "value": value, **changes}


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


def test_what_was_drawn_in_pixels_of_our_image() -> None:
    # The editor's size is a hint of the browser; ours is measured, here twice as large.
    assert from_regions([drawn()], [TAG], 1280, 960) == ([LabelledBox("car", Box(128, 192, 512, 432), "a", "manual")], [])


@pytest.mark.parametrize("missing", ["id", "origin", "original_width", "image_rotation"])
def test_what_the_api_may_leave_out_is_not_needed(missing: str) -> None:
    region = drawn()
    del region[missing], region["value"]["rotation"]
    [box], exclusions = from_regions([region], [TAG], 640, 480)

    assert not exclusions
    assert box.box.as_tuple() == pytest.approx((64, 96, 256, 216))


def test_a_rotated_rectangle_becomes_its_enclosing_box_clipped_to_the_frame() -> None:
    quarter = drawn(value={"x": 50, "y": 50, "width": 10, "height": 10, "rotation": 90})
    outside = drawn(value={"x": 2, "y": 50, "width": 10, "height": 10, "rotation": 90})
    boxes, exclusions = from_regions([quarter, outside], [TAG], 400, 100)

    assert not exclusions
    assert boxes[0].box.as_tuple() == pytest.approx((190, 50, 200, 90))
    assert boxes[1].box.as_tuple() == pytest.approx((0, 50, 8, 90))


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (drawn(value={"width": 0}), "no area inside the image"),
        (drawn(value={"x": 101}), "no area inside the image"),
        (drawn(value={"x": None}), "no area inside the image"),
        (drawn(value={"x": float("nan")}), "no area inside the image"),
        (drawn(value={"rectanglelabels": ["bus"]}), "unknown label 'bus'"),
        (drawn(value={"rectanglelabels": ["car", "person"]}), "several labels"),
        (drawn(value={"rectanglelabels": []}), "no label"),
        ({**drawn(), "value": None}, "no label"),
        (drawn(from_name="other"), "unknown tag 'other'"),
        (drawn(type="polygonlabels"), "type 'polygonlabels' is not a labelled rectangle"),
    ],
)
def test_a_region_that_is_no_label_is_reported_and_the_others_are_kept(region: dict[str, Any], reason: str) -> None:
    boxes, exclusions = from_regions([region, drawn(id="b")], [TAG], 640, 480)

    assert exclusions == [Exclusion("a", reason)]
    assert [box.region_id for box in boxes] == ["b"]


def test_answers_about_the_whole_task_are_not_drawn() -> None:
    answers = [
        {"id": "c", "from_name": "review", "to_name": "image", "type": "choices", "value": {"choices": ["accepted"]}},
        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
    ]
    assert from_regions(answers, [TAG], 640, 480) == ([], [])


@pytest.mark.parametrize(
    ("confidences", "score"),
    [([], 1.0), ([0.1, 0.2], 0.8), ([0.5, 0.7, 0.1], 0.6), ([0.25], 0.25)],
)
def test_the_score_is_how_sure_the_model_is_of_what_it_shows(confidences: list[float], score: float) -> None:
    detections = [Detection("car", Box(0, 0, 9, 9), confidence) for confidence in confidences]
    assert prediction_score(detections, [TAG], 0.25) == pytest.approx(score)
