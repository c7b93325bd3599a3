"""Each rule by which tasks of any Label Studio become an export; the seven that its own converter breaks in silence are among them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.export import class_ids
from console.from_json import read_classes
from labelwheel.errors import InputError, NotFoundError
from labelwheel.settings import Settings
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.drawing import Canvas
from labelwheel.vision.label_config import answering_tags
from retrain.dataset.folder import Excluded, File, Folder, Sample, folder_of
from retrain.dataset.format import Format
from retrain.dataset.pictures import Pictures
from retrain.dataset.tasks import Look, Picture, load, samples

W, H = 640, 480
CONFIG = """<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">
<Label value="open" category="7"/><Label value="short" category="3"/></RectangleLabels></View>"""
POSE = CONFIG.replace("</View>", '<KeyPointLabels name="k" toName="image"><Label value="tip"/><Label value="end"/></KeyPointLabels></View>')
ADDRESS = "/data/upload/1/a.jpg"

Json = dict[str, Any]


def box(label: str | list[str] = "open", x: float = 10, y: float = 20, w: float = 30, h: float = 40, **more: Any) -> Json:
    names = [label] if isinstance(label, str) else label
    value = {"x": x, "y": y, "width": w, "height": h, "rectanglelabels": names} | more.pop("value", {})
    region = {"id": "r", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "original_width": W, "original_height": H}
    return region | {"value": value} | more


def point(label: str, x: float, y: float, **more: Any) -> Json:
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [label]}
    return {**box(), "id": f"k-{label}", "type": "keypointlabels", "from_name": "k", "value": value, **more}


def said(*result: Json, at: int = 0, **more: Any) -> Json:
    moment = f"2026-11-23T08:{at:02}:00Z"
    return {"id": at + 1, "result": list(result), "created_at": moment, "updated_at": moment, "was_cancelled": False, **more}


def task(*annotations: Json, identity: Any = 1, image: Any = ADDRESS, **more: Any) -> Json:
    return {"id": identity, "data": {"image": image}, "annotations": list(annotations), **more}


def written(
    *tasks: Any, form: Format = Format.yolo, config: str = CONFIG, known: ClassMap | None = None, look: Look | None = None
) -> tuple[dict[str, bytes], list[Json]]:
    """The files of an export, and the items of its manifest."""
    canvas = Canvas(answering_tags(config))
    folder = Folder(form, class_ids(form, canvas, known or ClassMap()), canvas.skeleton)
    files = {file.name: _bytes(file) for file in folder.files(samples(tasks, canvas, look))}
    return files, json.loads(files["manifest.json"])["items"]


def _bytes(file: File) -> bytes:
    assert isinstance(file.content, bytes)
    return file.content


def lines(*tasks: Json, **options: Any) -> list[list[float]]:
    """The numbers of the first task's label file."""
    files, items = written(*tasks, **options)
    return [[float(field) for field in line.split()] for line in files[items[0]["labels"]].decode().splitlines()]


def names(*tasks: Json, **options: Any) -> list[str]:
    return json.loads(written(*tasks, **options)[0]["data.yaml"])["names"]


# Class ids


def test_class_ids_are_those_of_the_class_map_whatever_the_config_says_now() -> None:
    turned = CONFIG.replace('value="open"', 'value="new"').replace('value="short"', 'value="open"')
    known = ClassMap(("short", "open"))
    assert names(task(said(box())), known=known) == ["short", "open"]
    assert lines(task(said(box("open"))), known=known)[0][0] == 1
    assert names(task(said(box())), config=turned, known=known) == ["short", "open", "new"], "what is new is appended"
    assert names(task(said(box()))) == ["open", "short"], "the first time it is the config's order, never `category`"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", "names: {0: short, 1: open}"),
        ("data.yml", "names: [short, open]"),
        ("manifest.json", '{"names": ["short", "open"]}'),
        ("classes.txt", "short\nopen\n"),
    ],
)
def test_class_ids_are_read_from_what_an_earlier_export_left(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_classes(tmp_path / name).labels == ("short", "open")


@pytest.mark.parametrize(
    ("name", "text"), [("data.yaml", "names: {0: a, 2: b}"), ("x.json", "[]"), ("x.txt", "a\n\nb"), ("x.yaml", ": ["), ("x.txt", "a\na")]
)
def test_class_ids_with_gaps_or_doubles_are_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="names no classes"):
        read_classes(tmp_path / name)


# Which annotation counts


def test_of_several_annotations_the_latest_submitted_counts() -> None:
    both = task(said(box("open"), at=5), said(box("short"), at=2))
    assert [line[0] for line in lines(both)] == [0]
    [item] = written(both)[1]
    assert (item["counts_as"], item["annotation"]) == ("latest submitted", 6)
    edited = said(box("short"), at=2) | {"updated_at": "2026-11-23T09:00:00Z"}
    assert [line[0] for line in lines(task(said(box("open"), at=5), edited))] == [1], "an edit is a submission"


def test_the_ground_truth_counts_before_a_later_annotation() -> None:
    starred = task(said(box("short"), at=1, ground_truth=True), said(box("open"), at=9))
    assert [line[0] for line in lines(starred)] == [1]
    assert written(starred)[1][0]["counts_as"] == "ground truth"


def test_reviews_count_where_an_edition_has_them() -> None:
    accepted, rejected = ({"accepted": verdict, "created_at": "2026-11-23T09:00:00Z"} for verdict in (True, False))
    assert [line[0] for line in lines(task(said(box("short"), at=1, reviews=[accepted]), said(box("open"), at=9)))] == [1]
    assert [line[0] for line in lines(task(said(box("short"), at=1), said(box("open"), at=9, reviews=[rejected])))] == [1]
    [item] = written(task(said(box(), reviews=[rejected])))[1]
    assert (item["status"], item["reason"]) == ("excluded", "rejected")


def test_a_later_nothing_here_beats_an_earlier_box() -> None:
    files, [item] = written(task(said(box(), at=1), said(at=2)))
    assert item["status"] == "background"
    assert files[item["labels"]] == b""


def test_unlabelled_is_not_reviewed_and_empty() -> None:
    files, items = written(task(identity=1), task(said(), identity=2), task(identity=3, predictions=[{"result": [box()]}]))
    assert [item["status"] for item in items] == ["excluded", "background", "excluded"]
    assert items[0]["labels"] is None and items[0]["split"] is None and "unlabelled" in items[0]["reason"]
    assert sorted(files) == ["data.yaml", items[1]["labels"], "manifest.json"]


def test_skipped_is_excluded_whatever_was_drawn() -> None:
    _, items = written(
        task(said(box(), was_cancelled=True)), task(said(box(), at=1), said(box("short"), at=2, was_cancelled=True), identity=2)
    )
    assert (items[0]["status"], items[0]["reason"]) == ("excluded", "skipped")
    assert (items[1]["status"], items[1]["annotation"]) == ("labeled", 2)


# Geometry


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


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_the_turn_of_the_view_changes_nothing(turn: int) -> None:
    assert lines(task(said(box(image_rotation=turn)))) == lines(task(said(box())))


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


# Names


def test_equal_file_names_and_one_address_twice_never_collide() -> None:
    files, items = written(
        task(said(box()), identity=1, image="/data/local-files/?d=a/img.jpg"),
        task(said(box("short")), identity=2, image="/data/local-files/?d=b/img.jpg"),
        task(said(), identity=3, image="/data/local-files/?d=b/img.jpg"),
        task(said(box()), identity=3, image="/data/local-files/?d=b/img.jpg"),
        task(said(box()), identity=None, image="/data/local-files/?d=b/img.jpg"),
        task(said(box()), identity="../../etc", image="/data/local-files/?d=b/img.jpg"),
    )
    assert len({item["labels"] for item in items}) == 6
    assert all(item["labels"].count("/") == 2 for item in items)
    assert [len(files[item["labels"]].splitlines()) for item in items] == [1, 1, 0, 1, 1, 1]


# What else can be drawn


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


# What is given


def test_a_bad_task_fails_no_other() -> None:
    def look(address: str) -> Picture:
        raise NotFoundError(f"{address} is nowhere", "Look.")

    tasks = [
        None,
        7,
        {"id": 3},
        task(said(box()), image=None),
        task({"result": "x", "id": 1}),
        task(said(None)),
        task(7),
        task(said(box())),
    ]  # type: ignore[arg-type]
    _, items = written(*tasks)
    assert [item["status"] for item in items] == ["excluded"] * 7 + ["labeled"]
    assert all(item["reason"] for item in items[:7])
    [item] = written(task(said(box())), look=look)[1]
    assert (item["status"], item["reason"]) == ("excluded", f"no image: {ADDRESS} is nowhere")

    def stumble(address: str) -> Picture:
        if address == "bad":
            raise RuntimeError("who would have thought")
        return Picture(b"", "0" * 64, (W, H), ".png")

    _, items = written(task(said(box()), image="bad"), task(said(box()), identity=2), look=stumble)
    assert [item["status"] for item in items] == ["excluded", "labeled"] and "who would have thought" in items[0]["reason"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"annotations": 5}, "its annotations are no list"),
        ({"annotations": {"a": 1}}, "its annotations are no list"),
        ({"annotations": [said(box(), reviews=5)]}, None),
        ({"annotations": [said(box(from_name=["x"]))]}, "unknown tag ['x']"),
        ({"annotations": [said(box(from_name="gone", type=["x"]))]}, "unknown tag 'gone'"),
        ({"annotations": [said(box(original_width=10**400))]}, "its place cannot be read"),
        ({"id": 10**400, "annotations": [said()]}, None),
    ],
)
def test_whatever_stands_in_a_task_fails_no_other(bad: Json, reason: str | None) -> None:
    _, items = written(task(said(box())) | bad, task(said(box()), identity=2))
    assert items[1]["status"] == "labeled"
    assert len(items[0]["labels"]) < 100 if reason is None else reason in items[0]["reason"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "open", "label", "r", "choices", "labels", "brush"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "points", "rle", "id", "accepted"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(data=st.data())
def test_a_spoilt_task_is_accounted_for_and_fails_no_other(data: st.DataObject) -> None:
    accepted = {"accepted": True, "created_at": "2026-11-23T09:00:00Z"}
    polygon = {**box(from_name="p", type="polygonlabels"), "value": {"points": [[1, 1], [9, 1], [9, 9]], "polygonlabels": ["open"]}}
    bad = json.loads(json.dumps(task(said(box(), polygon, point("tip", 1, 1), reviews=[accepted]), said(box(), at=3), identity=3)))
    places = list(_places(bad))
    for parent, key in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3, unique_by=id)):
        parent[key] = data.draw(JSON)
    config = POSE.replace("</View>", '<PolygonLabels name="p" toName="image"><Label value="open"/></PolygonLabels></View>')
    for form in (Format.yolo, Format.seg, Format.coco):
        _, items = written(bad, task(said(box()), identity=7), form=form, config=config)
        assert len(items) == 2 and items[1]["status"] == "labeled"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where something stands in a JSON value: the list or object, and its index or key."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


@pytest.mark.parametrize(
    "address",
    ["iVBORw0KGgo" * 60, "a/" + "b" * 256, "a\0b.png", "/data/local-files/?d=a%00b", "/data/local-files/?d=//[x", "file://[x", "http://[x", "data:,x",
     "round/a.png", "dark.png", "folder", "s3://[x/a", "https://x:99999/a.png", ""],
)  # fmt: skip
def test_whatever_address_stands_in_a_task_fails_no_other(tmp_path: Path, address: str) -> None:
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "folder").mkdir()
    (tmp_path / "good.png").write_bytes(cv2.imencode(".png", np.zeros((H, W, 3), np.uint8))[1].tobytes())
    (tmp_path / "dark.png").write_bytes(b"x")
    (tmp_path / "dark.png").chmod(0)
    look = Pictures(tmp_path, Settings(home=tmp_path))
    canvas = Canvas(answering_tags(CONFIG))
    first, second = samples([task(said(box()), image=address), task(said(box()), image="good.png")], canvas, look)
    assert isinstance(first, Excluded) and first.reason
    assert isinstance(second, Sample)


def test_no_holdout_is_said() -> None:
    files, _ = written(task(said(box())))
    assert "no holdout" in json.loads(files["data.yaml"])["note"]
    assert "no holdout" in json.loads(files["manifest.json"])["note"]


@pytest.mark.parametrize("text", ["", "[", "7", '"x"', "[1, 2]", '[{"image": "a.jpg", "label": []}]'])
def test_what_is_no_export_of_tasks_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(InputError, match=r"t\.json"):
        load(tmp_path / "t.json")
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.json")


def test_equal_tasks_give_equal_bytes() -> None:
    assert written(task(said(box())))[0] == written(task(said(box())))[0]


@given(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20) | st.sampled_from((".", "..", "...", "a/b", "../x", "%2E"))
)
def test_a_label_is_the_name_of_one_folder_and_can_be_read_back(label: str) -> None:
    name = folder_of(label)
    assert unquote(name) == label
    assert name not in (".", "..") and "/" not in name and "\\" not in name
