"""What becomes of what was drawn on a task of any Label Studio, region by region: the rules of docs/export.md."""

from __future__ import annotations

import json
import math

import pytest

from labelwheel.errors import InputError
from retrain.dataset.format import Format
from retrain.dataset.tasks import Picture
from tests.fixtures.exported import CONFIG, POSE, H, Json, W, box, lines, point, said, task, written


def test_a_box_is_worked_in_shares_of_the_image() -> None:
    assert lines(task(said(box()))) == [[0, 0.25, 0.4, 0.3, 0.4]]


@pytest.mark.parametrize("rotation", [0, 30, 90, 200.5, -45, 360])
def test_a_turned_box_becomes_the_box_around_it_worked_in_pixels_and_its_corners_in_obb(rotation: float) -> None:
    x, y, w, h, angle = 0.45 * W, 0.4 * H, 0.1 * W, 0.15 * H, math.radians(rotation)
    spots = [(0, 0), (w, 0), (w, h), (0, h)]
    corners = [(x + a * math.cos(angle) - b * math.sin(angle), y + a * math.sin(angle) + b * math.cos(angle)) for a, b in spots]
    drawn = task(said(box(x=45, y=40, w=10, h=15, value={"rotation": rotation})))
    xs, ys = zip(*corners, strict=True)
    [[_, cx, cy, across, down]] = lines(drawn)
    found = ((cx - across / 2) * W, (cy - down / 2) * H, (cx + across / 2) * W, (cy + down / 2) * H)
    assert found == pytest.approx((min(xs), min(ys), max(xs), max(ys)), abs=1e-4)
    [[_, *shares]] = lines(drawn, form=Format.obb)
    flat = [value for px, py in corners for value in (px / W, py / H)]
    assert shares == pytest.approx(flat, abs=1e-8)


def test_a_box_without_rotation_has_corners_in_obb_too() -> None:
    assert lines(task(said(box())), form=Format.obb) == [[0, 0.1, 0.2, 0.4, 0.2, 0.4, 0.6, 0.1, 0.6]]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_the_turn_of_the_view_changes_nothing(rotation: int) -> None:
    assert lines(task(said(box(image_rotation=rotation)))) == lines(task(said(box())))


def test_boxes_are_clipped_to_the_frame() -> None:
    assert lines(task(said(box(x=-10, y=80, w=30, h=40)))) == [[0, 0.1, 0.9, 0.2, 0.2]]
    [[_, *shares]] = lines(task(said(box(x=50, y=-5, w=10, h=20, value={"rotation": 45}))), form=Format.obb)
    assert all(0 <= share <= 1 for share in shares)
    assert len(shares) == 10, "a corner cut off leaves five"


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (box(w=0), "no area inside the image"),
        (box(x=120), "no area inside the image"),
        (box(value={"width": math.nan}), "its place is not a number"),
        (box(value={"x": None}), "its place cannot be read"),
        (box(["open", "short"]), "several labels"),
        (box([]), "no label"),
        (box("moon"), "unknown label 'moon'"),
        (box(from_name="gone"), "unknown tag 'gone'"),
        (box(item_index=2), "drawn on another image of the task"),
        ({**box(), "value": "?"}, "no label"),
    ],
)
def test_a_region_that_cannot_be_used_is_named_and_the_others_stay(region: Json, reason: str) -> None:
    files, [item] = written(task(said(box(), {**region, "id": "bad"})))
    assert item["dropped"] == [{"region_id": "bad", "reason": reason}]
    assert (item["status"], item["regions_in"], item["regions_out"]) == ("labeled", 2, 1)
    assert len(files[item["labels"]].splitlines()) == 1
    [alone] = written(task(said({**region, "id": "bad"})))[1]
    assert alone["status"] == "excluded" and reason in alone["reason"], "an image on which something was drawn is no background"


def test_percent_of_an_image_of_another_size_are_shares_all_the_same() -> None:
    def look(_: str) -> Picture:
        return Picture(b"", "0" * 64, (2 * W, 2 * H), ".png")

    turned = task(said(box(value={"rotation": 30})))
    assert lines(turned, look=look)[0] == pytest.approx(lines(turned)[0], abs=1e-8)

    def lying(_: str) -> Picture:
        return Picture(b"", "0" * 64, (H, W), ".png")

    [item] = written(turned, look=lying)[1]
    assert "lying on its side" in item["reason"]


def test_without_any_size_a_region_is_named_and_background_needs_none() -> None:
    bare = {key: value for key, value in box().items() if not key.startswith("original")}
    _, items = written(task(said(bare)), task(said(), identity=2))
    assert "size of the image is not known" in items[0]["reason"]
    assert items[1]["status"] == "background"


def test_points_hang_on_the_object_they_were_drawn_under_else_on_the_smallest_around_them() -> None:
    drawn = said(
        box(x=0, y=0, w=90, h=90, id="large"),
        box("short", x=10, y=10, w=20, h=20, id="small"),
        point("tip", 15, 15),
        point("end", 12, 12, parentID="large"),
        point("end", 95, 95, id="lost"),
        point("tip", 16, 16, id="second"),
    )
    files, [item] = written(task(drawn), form=Format.pose, config=POSE)
    large, small = (line.split()[5:] for line in files[item["labels"]].decode().splitlines())
    assert [float(value) for value in large] == [0, 0, 0, 0.12, 0.12, 2]
    assert [float(value) for value in small] == [0.15, 0.15, 2, 0, 0, 0]
    assert {one["region_id"]: one["reason"] for one in item["dropped"]} == {
        "lost": "a point that lies on no object",
        "second": "a second 'tip' of one object",
    }
    data = json.loads(files["data.yaml"])
    assert data["kpt_shape"] == [2, 3] and data["kpt_names"]["0"] == ["tip", "end"]
    [plain] = written(task(drawn), config=POSE)[1]
    assert {one["reason"] for one in plain["dropped"]} == {"a key point: only yolo-pose and coco keep it"}


def test_points_go_to_objects_that_may_have_them_and_to_the_place_of_their_index() -> None:
    config = POSE.replace('<Label value="tip"/>', '<Label value="tip" model_index="1" predicted_values="short"/>')
    drawn = task(
        said(box(x=0, y=0, w=20, h=20, id="a"), box("short", x=0, y=0, w=50, h=50, id="b"), point("tip", 5, 5), point("end", 5, 5))
    )
    first, second = (line[5:] for line in lines(drawn, form=Format.pose, config=config))
    assert first == [0.05, 0.05, 2, 0, 0, 0]
    assert second == [0, 0, 0, 0.05, 0.05, 2]


def test_labels_of_a_tag_without_a_shape_are_read_by_what_was_drawn() -> None:
    config = (
        '<View><Image name="image" value="$image"/><Rectangle name="shape" toName="image"/>'
        '<Labels name="label" toName="image"><Label value="open"/></Labels></View>'
    )
    value = box()["value"]
    bare = {**box(from_name="shape", type="rectangle"), "value": {key: value[key] for key in ("x", "y", "width", "height")}}
    named = {**box(type="labels"), "value": {**bare["value"], "labels": ["open"]}}
    assert lines(task(said(bare, named)), config=config) == [[0, 0.25, 0.4, 0.3, 0.4]]
    assert written(task(said(bare)), config=config)[1][0]["reason"].endswith("no label")


def test_one_choice_is_a_class_and_none_or_several_are_not() -> None:
    config = CONFIG.replace("</View>", '<Choices name="c" toName="image"><Choice value="a/b"/><Choice value="ok"/></Choices></View>')

    def chosen(*choices: str) -> Json:
        return {"id": "c", "type": "choices", "from_name": "c", "to_name": "image", "value": {"choices": list(choices)}}

    def look(_: str) -> Picture:
        return Picture(b"png", "0" * 64, (W, H), ".png")

    tasks = [task(said(*result), identity=number) for number, result in enumerate(([chosen("a/b"), box()], [chosen("a/b", "ok")], [box()]))]
    files, items = written(*tasks, form=Format.cls, config=config, look=look)
    assert [item["status"] for item in items] == ["labeled", "excluded", "excluded"]
    assert items[0]["class"] == "a/b" and items[0]["file"].startswith("train/a%2Fb/")
    assert files[items[0]["file"]] == b"png"
    assert json.loads(files["data.yaml"])["names"] == ["a/b", "ok"]
    assert [item["reason"] for item in items[1:]] == ["several choices", "no choice was made"]


@pytest.mark.parametrize("form", [Format.pose, Format.cls])
def test_a_format_for_which_the_config_has_nothing_is_refused(form: Format) -> None:
    with pytest.raises(InputError, match=f"nothing for {form}"):
        written(task(said(box())), form=form)
