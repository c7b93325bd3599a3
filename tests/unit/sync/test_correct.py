"""Corrections: each box that was shown and each that was drawn is counted once, whatever a person did."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box
from labelwheel.vision.label_config import parse
from sync.corrections.correct import Outcome, Shown, begun_from, compare, outcomes

TAGS = parse(
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="car"/><Label value="person"/></RectangleLabels></View>'
)


@st.composite
def boxes(draw: st.DrawFn, ids: str) -> list[LabelledBox]:
    """Boxes on a coarse grid, so that many overlap; some without an id, some not from the editor."""
    number = st.integers(0, 6)
    found = []
    for _ in range(draw(st.integers(0, 6))):
        x, y = draw(number) * 10, draw(number) * 10
        box = Box(x, y, x + 10 + draw(number) * 5, y + 10 + draw(number) * 5)
        found.append(
            LabelledBox(draw(st.sampled_from("ab")), box, draw(st.sampled_from(ids)).strip(), draw(st.sampled_from(["", "manual"])))
        )
    return found


@given(boxes("12345 "), boxes("34567 "), st.booleans())
def test_the_outcomes_partition_the_boxes(before: list[LabelledBox], after: list[LabelledBox], by_place: bool) -> None:
    found = compare([Shown(box, 0.5) for box in before], after, by_place)
    count = Counter(outcome.outcome for outcome in found)
    assert count.total() - count["added"] == len(before)
    assert count.total() - count["deleted"] == len(after)
    assert Counter(outcome.label for outcome in found if outcome.label) == Counter(box.label for box in before)
    assert Counter(outcome.new_label for outcome in found if outcome.new_label) == Counter(box.label for box in after)
    assert all((outcome.label != outcome.new_label) == (outcome.outcome in ("relabelled", "deleted", "added")) for outcome in found)


@given(boxes("12345 "), st.booleans())
def test_who_changes_nothing_has_kept_everything(before: list[LabelledBox], by_place: bool) -> None:
    unedited = [replace(box, region_id=str(number), origin="prediction") for number, box in enumerate(before)]
    found = compare([Shown(box, 0.5) for box in unedited], unedited, by_place)
    assert [outcome.outcome for outcome in found] == ["kept"] * len(before)


@given(boxes("12345 "), boxes("34567 "))
def test_a_box_that_the_editor_drew_anew_is_no_box_of_the_model(before: list[LabelledBox], after: list[LabelledBox]) -> None:
    drawn = [replace(box, region_id=f"new-{number}", origin="manual") for number, box in enumerate(after)]
    found = compare([Shown(box, 0.5) for box in before], drawn, by_place=False)
    assert [outcome.outcome for outcome in found] == ["deleted"] * len(before) + ["added"] * len(after)


def region(key: str, label: str, x: float = 10, origin: str = "prediction", **more: Any) -> dict[str, Any]:
    """As Label Studio's editor posts it."""
    value = {"x": x, "y": 20, "width": 30, "height": 25, "rotation": 0, "rectanglelabels": [label]}
    size = {"original_width": 640, "original_height": 480, "image_rotation": 0}
    names = {"id": key, "from_name": "label", "to_name": "image", "type": "rectanglelabels"}
    return {**names, **size, "value": value, **({"origin": origin} if origin else {}), **more}


def prediction(*regions: dict[str, Any], number: int = 7, version: str = "yolo@1", at: str = "10:00:00") -> dict[str, Any]:
    created = f"2026-11-23T{at}.000000Z"
    return {"id": number, "model_version": version, "created_at": created, "score": 0.4, "result": list(regions), "cluster": None}


def annotation(*regions: dict[str, Any], parent: int | None = 7) -> dict[str, Any]:
    return {"id": 1, "created_at": "2026-11-23T10:05:00.000000Z", "parent_prediction": parent, "result": list(regions), "lead_time": 3.09}


SHOWN = prediction(region("A", "car", score=0.37, origin=""), region("B", "person", 59, score=0.33, origin=""))


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ([region("A", "car"), region("B", "person", 59)], [("kept", "car", 0.37, "car"), ("kept", "person", 0.33, "person")]),
        ([region("A", "car")], [("kept", "car", 0.37, "car"), ("deleted", "person", 0.33, None)]),
        (
            [region("A", "car", 14, "prediction-changed"), region("B", "car", 59, "prediction-changed"), region("C", "car", 80, "manual")],
            [("moved", "car", 0.37, "car"), ("relabelled", "person", 0.33, "car"), ("added", None, None, "car")],
        ),
        ([], [("deleted", "car", 0.37, None), ("deleted", "person", 0.33, None)]),
        # without ids, as the API takes it
        ([region("", "car", 11, "")], [("moved", "car", 0.37, "car"), ("deleted", "person", 0.33, None)]),
    ],
)
def test_what_the_editor_posts(drawn: list[dict[str, Any]], expected: list[tuple[Any, ...]]) -> None:
    done = annotation(*drawn)
    body = done | {"prediction": begun_from(done, [SHOWN])}
    found = outcomes(body, TAGS, 640, 480)
    assert [(one.outcome, one.label, one.confidence, one.new_label) for one in found or []] == expected


def test_the_iou_says_how_far_a_box_was_moved() -> None:
    one, other = LabelledBox("car", Box(0, 0, 10, 10), "A"), LabelledBox("car", Box(5, 0, 15, 10), "A")
    assert compare([Shown(one, None)], [other], by_place=False) == [Outcome("moved", "car", None, "car", 0.3333)]


def test_what_an_annotation_began_from() -> None:
    older, newer = prediction(region("A", "car")), prediction(region("X", "car"), number=8, version="yolo@2", at="10:01:00")
    later = prediction(region("Z", "car"), number=9, at="10:06:00")
    everything = [newer, older, later]

    def began(done: dict[str, Any]) -> int | None:
        found = begun_from(done, everything)
        return None if found is None else found.get("id", 0)

    assert began(annotation(parent=7)) == 7
    assert began(annotation(parent=77)) is None, "its prediction is gone: nobody knows what was deleted"
    assert began(annotation(region("A", "car"), parent=None)) == 7, "its regions are that prediction's"
    assert began(annotation(region("M", "car"), parent=None)) == 8, "the newest that was there"
    assert begun_from(annotation(parent=None), [later]) == {}, "it was there before any prediction"
    assert "cluster" not in (begun_from(annotation(), everything) or {})


def test_what_began_from_nothing_is_all_added_and_what_is_not_known_is_nothing() -> None:
    done = annotation(region("A", "car"), parent=None)
    assert [one.outcome for one in outcomes(done | {"prediction": {}}, TAGS, 640, 480) or []] == ["added"]
    assert outcomes(done, TAGS, 640, 480) is None
    hostile = {"result": ["no region", {"id": []}], "model_version": None}
    assert outcomes({"result": None, "prediction": hostile}, TAGS, 640, 480) == []
