from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface import LabelInterface

from labelwheel.vision.detection import Detection
from labelwheel.vision.fit import fitting, misfits
from labelwheel.vision.geometry import Box
from labelwheel.vision.label_config import CHAMPION, names_of, parse
from labelwheel.vision.pre_annotation import Sight, pre_annotation

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="open"/><Label value="short"/>'
    '</RectangleLabels><Choices name="grade" toName="image"><Choice value="good"/><Choice value="bad"/></Choices></View>'
)
TAGS = parse(CONFIG)
THEIRS = LabelInterface(CONFIG)
BOX = {"x": 10.0, "y": 20.0, "width": 30.0, "height": 40.0, "rotation": 0.0}

numbers = st.floats(-50, 150) | st.sampled_from((0, 100, 100.0001, -0.0))
values = st.fixed_dictionaries(
    dict.fromkeys(("x", "y"), numbers) | {name: st.floats(0, 150) for name in ("width", "height")} | {"rotation": st.floats(-180, 180)}
)
labels = st.sampled_from(("open", "short", "Open", "scratch", ""))
regions = st.builds(
    lambda name, to_name, kind, value, label: region(value | {"rectanglelabels": [label]}, name, to_name, kind),
    st.sampled_from(("label", "label", "label", "grade", "tag")), st.sampled_from(("image", "image", "image", "text")),
    st.sampled_from(("rectanglelabels", "rectanglelabels", "rectanglelabels", "choices")), values, labels,
)  # fmt: skip


def region(value: Any, name: str = "label", to_name: str = "image", kind: str = "rectanglelabels") -> dict[str, Any]:
    size = {"original_width": 100, "original_height": 100, "image_rotation": 0}
    return {"id": "r", "from_name": name, "to_name": to_name, "type": kind, **size, "value": value}


def prediction(*result: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"model_version": "m@1", "score": 0.5, "result": list(result), **changes}


@given(st.lists(regions, max_size=3), st.none() | st.floats(-0.5, 1.5) | st.sampled_from((0, 1)))
def test_what_fits_is_what_label_studio_takes(result: list[dict[str, Any]], score: float | None) -> None:
    sent = prediction(*result, score=score)
    assert (misfits(sent, TAGS) == []) == (THEIRS.validate_prediction(sent, return_errors=True) == [])


@given(st.lists(regions | st.sampled_from((None, "junk", 7)), max_size=4))
def test_what_fits_of_an_annotation_is_what_label_studio_takes_of_each_region(result: list[Any]) -> None:
    assert fitting(result, TAGS) == [region for region in result if isinstance(region, dict) and THEIRS.validate_region(region)]


def test_what_another_tag_says_is_left_as_it_is() -> None:
    note = {"id": "n", "from_name": "note", "to_name": "image", "type": "textarea", "value": {"text": ["scratched"]}}
    assert fitting(
        [note, {**note, "from_name": "gone"}], TAGS, names_of(CONFIG.replace("</View>", '<TextArea name="note" toName="image"/></View>'))
    ) == [note]


def test_a_relation_stays_with_both_its_regions() -> None:
    left, right = ({**region({**BOX, "rectanglelabels": ["open"]}), "id": name} for name in "ab")
    odd = {**region(BOX), "id": "c"}
    kept, lost = ({"type": "relation", "from_id": "a", "to_id": other, "direction": "right"} for other in "bc")
    assert fitting([left, kept, odd, lost, right], TAGS) == [left, kept, right]
    assert THEIRS.validate_prediction(prediction(left, kept, right), return_errors=True) == []


@given(st.lists(st.builds(Detection, st.sampled_from(("open", "short")), st.builds(Box, *[st.floats(-20, 120)] * 4), st.floats(0.05, 1))))
def test_what_we_make_of_detections_fits(found: list[Detection]) -> None:
    made = pre_annotation({("image", CHAMPION): Sight(found, 100, 80)}, TAGS, "m@1", 0.25)
    assert misfits(made, TAGS) == []


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (prediction(region({**BOX, "rectanglelabels": ["scratch"]})), "the tag 'label' has no label 'scratch'"),
        (prediction(region({**BOX, "rectanglelabels": ["open"]}, name="tag")), "there is no tag 'tag'"),
        (prediction(region({**BOX, "rectanglelabels": ["open"]}, kind="choices")), "the tag 'label' is rectanglelabels of 'image'"),
        (prediction(region({**BOX, "width": 101, "rectanglelabels": ["open"]})), "width 101 of a rectangle is beyond 100 percent"),
        (prediction(region({**BOX, "x": float("nan"), "rectanglelabels": ["open"]})), "x nan of a rectangle"),
        (prediction(score=1.5), "its score 1.5 is not between 0 and 1"),
        (prediction(region("junk")), "the tag 'label' has no label None"),
        (prediction(model_version=""), "it names no model version"),
    ],
)
def test_a_misfit_is_named(sent: dict[str, Any], said: str) -> None:
    assert said in misfits(sent, TAGS)[0]
