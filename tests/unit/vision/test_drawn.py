"""What a person drew, and what a person can draw that is no label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.drawn import Exclusion, from_regions
from labelwheel.vision.geometry import Box
from labelwheel.vision.label_config import ControlTag, Slot

TAG = ControlTag("RectangleLabels", "label", "image", "image", ("car", "person"))


def drawn(**changes: Any) -> dict[str, Any]:
    """A region as Label Studio's editor submits it; `value` is merged, everything else replaced."""
    value = {"x": 10, "y": 20, "width": 30, "height": 25, "rotation": 0, "rectanglelabels": ["car"], **changes.pop("value", {})}
    region = {"id": "a", "from_name": "label", "to_name": "image", "type": "rectanglelabels", "origin": "manual", "image_rotation": 0}
    return {"original_width": 640, "original_height": 480, **region, "value": value, **changes}


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


@pytest.mark.parametrize("odd", ["junk", None, 7, ["a"]])
def test_what_is_no_region_at_all_is_reported_and_never_taken_for_nothing(odd: Any) -> None:
    assert from_regions([odd, drawn(id="b")], [TAG], 640, 480) == (
        [LabelledBox("car", Box(64, 96, 256, 216), "b", "manual")],
        [Exclusion("", f"{str(odd)!r} is no region")],
    )


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.sampled_from(("", "car", "label", "rectanglelabels")),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(("x", "value", "type")), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(("id", "from_name", "type", "origin", "value")), ANYTHING)
def test_whatever_others_put_into_a_region_it_is_a_box_or_reported(name: str, odd: Any) -> None:
    """Label Studio checks of an annotation that its result is a list, and nothing in it."""
    boxes, exclusions = from_regions([{**drawn(), name: odd}], [TAG], 640, 480)
    assert len(boxes) + len(exclusions) == 1


@given(st.sampled_from(("x", "y", "width", "height", "rotation", "rectanglelabels")), ANYTHING)
def test_whatever_others_put_into_a_value_it_is_a_box_or_reported(name: str, odd: Any) -> None:
    boxes, exclusions = from_regions([drawn(value={name: odd})], [TAG], 640, 480)
    assert len(boxes) + len(exclusions) == 1


def test_answers_about_the_whole_task_are_not_drawn() -> None:
    answers = [
        {"id": "c", "from_name": "review", "to_name": "image", "type": "choices", "value": {"choices": ["accepted"]}},
        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
    ]
    assert from_regions(answers, [TAG], 640, 480) == ([], [])


@pytest.mark.parametrize(
    "other",
    [
        ControlTag("PolygonLabels", "other", "image", "image", ("car",)),
        replace(TAG, name="other", slot=Slot("grade")),
        replace(TAG, name="other", value_key="second"),
    ],
)
def test_what_was_drawn_for_another_model_or_on_another_image_is_no_label_and_no_slip(other: ControlTag) -> None:
    region = drawn(from_name="other", type=other.result_type)
    assert from_regions([region], [TAG, other], 640, 480) == ([], [])
