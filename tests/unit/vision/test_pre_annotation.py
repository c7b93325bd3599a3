"""One prediction out of every image and every model that the label config speaks of."""

from __future__ import annotations

from labelwheel.vision.detection import Detection
from labelwheel.vision.geometry import Box
from labelwheel.vision.label_config import CHAMPION, ControlTag, Slot
from labelwheel.vision.pre_annotation import Sight, pre_annotation, tags_by_view

TAG = ControlTag("RectangleLabels", "label", "image", "image", ("open", "short"))
BACK = ControlTag("RectangleLabels", "back", "behind", "behind", ("open",))
GRADE = ControlTag("Choices", "grade", "image", "image", ("good", "bad"), slot=Slot("grade"))
FRAME = Box(0, 0, 100, 80)
SEEN = Sight(
    [Detection("open", Box(10, 20, 30, 40), 0.9), Detection("short", Box(0, 0, 50, 50), 0.3), Detection("open", Box(0, 0, 9, 9), 0.1)],
    100,
    80,
)
BEHIND = Sight([Detection("open", Box(0, 0, 20, 20), 0.8)], 200, 40)
GRADED = Sight([Detection("bad", FRAME, 0.55, whole=True), Detection("good", FRAME, 0.45, whole=True)], 100, 80)


def test_it_shows_what_reaches_the_threshold() -> None:
    shown = pre_annotation({("image", CHAMPION): SEEN}, [TAG], "m@1", 0.25)
    assert shown["model_version"] == "m@1"
    assert shown["score"] == 0.6
    assert [region["value"]["rectanglelabels"] for region in shown["result"]] == [["open"], ["short"]]
    place = shown["result"][0]["value"]
    assert [place[name] for name in ("x", "y", "width", "height")] == [10, 25, 20, 25]
    assert pre_annotation({("image", CHAMPION): SEEN}, [TAG], "m@1", 0.95)["result"] == []


def test_each_tag_is_filled_from_its_own_image_and_model_and_the_least_sure_of_them_counts() -> None:
    tags = [TAG, BACK, GRADE]
    sights = {("image", CHAMPION): SEEN, ("behind", CHAMPION): BEHIND, ("image", Slot("grade")): GRADED}
    shown = pre_annotation(sights, tags, "m@1", 0.25)
    assert list(tags_by_view(tags)) == list(sights)
    assert [(region["from_name"], region["to_name"]) for region in shown["result"]] == [
        ("label", "image"), ("label", "image"), ("back", "behind"), ("grade", "image"),
    ]  # fmt: skip
    assert (shown["result"][2]["original_width"], shown["result"][2]["value"]["width"]) == (200, 10)
    assert shown["score"] == 0.55


def test_a_tag_whose_model_is_not_there_shows_nothing() -> None:
    shown = pre_annotation({("image", CHAMPION): SEEN}, [TAG, GRADE], "m@1", 0.25)
    assert {region["from_name"] for region in shown["result"]} == {"label"}
    assert shown["score"] == 0.6
