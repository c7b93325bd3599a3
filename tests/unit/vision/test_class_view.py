"""A model trained under old names serves under those of today, without a training."""

from __future__ import annotations

from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.class_view import drawn_as, labels_seen, seen_as, shown_under
from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import Box
from labelwheel.vision.label_config import parse

TODAY = ClassMap(("scratch", "bump", "dirt", "hair", "smear"), {3: 2, 4: None}, {"dent": 1, "dust": 2})
BOX, FAR = Box(0, 0, 10, 10), Box(50, 50, 60, 60)


def test_old_names_are_read_removed_ones_left_out_and_strangers_kept() -> None:
    found = [Detection(label, FAR, 0.9) for label in ("dent", "smear", "stranger", "scratch")]
    assert [item.label for item in seen_as(found, TODAY)] == ["bump", "stranger", "scratch"]
    assert seen_as(found, ClassMap(("dent",))) == found
    assert [box.label for box in drawn_as([LabelledBox(name, BOX) for name in ("dust", "smear", "x")], TODAY)] == ["dirt", "x"]
    assert labels_seen(["scratch", "dent", "dust", "hair", "smear"], TODAY) == ["scratch", "bump", "dirt"]


def test_an_object_that_was_seen_as_two_merged_classes_is_one() -> None:
    found = [
        Detection("hair", BOX, 0.9),
        Detection("dust", Box(0, 0, 10, 9), 0.8),
        Detection("dust", FAR, 0.7),
        Detection("dent", BOX, 0.6),
    ]
    assert [(item.label, item.confidence) for item in seen_as(found, TODAY)] == [("dirt", 0.9), ("dirt", 0.7), ("bump", 0.6)]
    assert seen_as(seen_as(found, TODAY), TODAY) == seen_as(found, TODAY)


def config(*labels: str) -> str:
    options = "".join(f"<Label {label}/>" for label in labels)
    return f'<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i">{options}</RectangleLabels></View>'


def test_a_label_config_that_still_has_the_old_name_shows_the_class() -> None:
    [tag] = shown_under(parse(config('value="dent"', 'value="scratch"', 'value="smear"')), TODAY)
    assert [tag.shows(label, 0.5) for label in ("bump", "scratch", "dirt")] == [("dent", 0.5), ("scratch", 0.5), None]
    [renamed] = shown_under(parse(config('value="bump" alias="dent" model_score_threshold="0.3"')), TODAY)
    assert renamed.shows("bump", 0.5) == ("dent", 0.3)
    [both] = shown_under(parse(config('value="dent"', 'value="bump"')), TODAY)
    assert both.shows("bump", 0.5) == ("bump", 0.5)
