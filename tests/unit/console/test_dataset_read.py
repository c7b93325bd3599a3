"""YOLO and COCO folders: what was drawn comes back as drawn, what is wrong is named, and nothing outside of the folder is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.dataset import coco, yolo
from console.dataset.bring import external_id, survey
from console.dataset.found import Drawn
from labelwheel.errors import InputError
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box, box_to_yolo
from retrain.dataset.lines import to_text

WIDTH, HEIGHT = 640, 480
LABELS = ("open", "short")
NAMES = dict(enumerate(LABELS))
CATEGORIES: dict[int | str, str] = {7: "open", 3: "short"}


@st.composite
def boxes(draw: st.DrawFn) -> list[LabelledBox]:
    """Distinct boxes, edges to a hundredth of a pixel."""
    found = []
    for label in draw(st.lists(st.sampled_from(LABELS), max_size=5)):
        x, y = draw(st.integers(0, 100 * WIDTH - 100)), draw(st.integers(0, 100 * HEIGHT - 100))
        right, bottom = draw(st.integers(x + 100, 100 * WIDTH)), draw(st.integers(y + 100, 100 * HEIGHT))
        found.append(LabelledBox(label, Box(x / 100, y / 100, right / 100, bottom / 100), origin="manual"))
    return list(dict.fromkeys(found))


def same(drawn: Drawn, truth: list[LabelledBox], tolerance: float) -> bool:
    close = (
        box.label == true.label and box.box.as_tuple() == pytest.approx(true.box.as_tuple(), abs=tolerance)
        for box, true in zip(drawn.boxes, truth, strict=True)
    )
    return not drawn.faults and all(close)


@given(boxes())
def test_yolo_lines_give_the_boxes_that_they_were_written_from(truth: list[LabelledBox]) -> None:
    rows = ((LABELS.index(box.label), *box_to_yolo(box.box, WIDTH, HEIGHT)) for box in truth)
    lines = "\n".join(" ".join(map(str, row)) for row in rows)
    assert same(yolo.parse(lines, NAMES, WIDTH, HEIGHT), truth, 1e-6)


@given(boxes())
def test_our_own_exports_can_be_read_again(truth: list[LabelledBox]) -> None:
    assert same(yolo.parse(to_text(truth, ClassMap(LABELS), WIDTH, HEIGHT), NAMES, WIDTH, HEIGHT), truth, 1e-3)


@given(boxes())
def test_coco_annotations_give_the_boxes_that_they_were_written_from(truth: list[LabelledBox]) -> None:
    ids = {name: identity for identity, name in CATEGORIES.items()}
    entries = [
        {"id": number, "category_id": ids[box.label], "bbox": [box.box.x1, box.box.y1, box.box.width, box.box.height]}
        for number, box in enumerate(truth)
    ]
    assert same(coco.parse(entries, CATEGORIES, WIDTH, HEIGHT), truth, 1e-6)


@given(st.text(st.sampled_from("01 .-+e\nnaif"), max_size=60))
def test_any_text_gives_boxes_inside_the_image_or_faults(text: str) -> None:
    drawn = yolo.parse(text, NAMES, WIDTH, HEIGHT)
    lines = [line for line in text.splitlines() if line.split()]
    assert len(drawn.boxes) + len(drawn.faults) <= len(lines)
    assert all(box.box.valid and box.box.clipped(WIDTH, HEIGHT) == box.box for box in drawn.boxes)
    assert bool(drawn.boxes or drawn.faults) == bool(lines)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("2 .5 .5 .1 .1", "class 2 has no name"),
        ("car .5 .5 .1 .1", "not a class id"),
        ("0 .5 .5 .1", "3 numbers"),
        ("0 320 240 64 48", "no shares"),
        ("0 nan .5 .1 .1", "no shares"),
        ("0 .5 .5 0 .1", "no area"),
    ],
)
def test_a_bad_line_is_named_and_the_others_stay(line: str, fault: str) -> None:
    drawn = yolo.parse(f"1 .5 .5 .25 .5\n{line}\n", NAMES, WIDTH, HEIGHT)
    assert [box.box for box in drawn.boxes] == [Box(240, 120, 400, 360)]
    assert len(drawn.faults) == 1 and drawn.faults[0].startswith("line 2: ") and fault in drawn.faults[0]


def test_a_polygon_becomes_the_box_around_it_and_a_repetition_counts_once() -> None:
    drawn = yolo.parse("0 .25 .25 .75 .5 .5 .75\n1 .5 .5 .5 .5\n1 .5 .5 .5 .5\n", NAMES, WIDTH, HEIGHT)
    assert [box.box for box in drawn.boxes] == [Box(160, 120, 480, 360), Box(160, 120, 480, 360)]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"category_id": 9, "bbox": [1, 1, 5, 5]}, "category 9"),
        ({"category_id": [7], "bbox": [1, 1, 5, 5]}, "category"),
        ({"category_id": 7, "bbox": [1, 1, 5]}, "four numbers"),
        ({"category_id": 7, "bbox": "none"}, "four numbers"),
        ({"category_id": 7, "bbox": [1, 1, -5, 5]}, "without area"),
        ({"category_id": 7, "bbox": [700, 1, 5, 5]}, "inside the image"),
        ({"category_id": 7, "bbox": [1, 1, 5, 5], "iscrowd": 1}, "crowd"),
    ],
)
def test_a_bad_annotation_is_named_and_the_others_stay(entry: dict[str, Any], fault: str) -> None:
    drawn = coco.parse([{"id": 1, **entry}, {"id": 2, "category_id": 3, "bbox": [0, 0, 9, 9]}], CATEGORIES, WIDTH, HEIGHT)
    assert [box.label for box in drawn.boxes] == ["short"]
    assert len(drawn.faults) == 1 and drawn.faults[0].startswith("annotation 1: ") and fault in drawn.faults[0]


def files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0 .5 .5 .2 .2\n" if path.suffix == ".txt" else "")


def splits(folder: Path) -> dict[str, tuple[str | None, bool]]:
    return {sample.name: (sample.split, sample.draw is not None) for sample in survey(folder).samples}


@pytest.mark.parametrize(
    "config",
    [
        "path: ../datasets/boards\ntrain: images/train\nval: images/val\ntest:\nnames: [open, short]\n",
        "train: ../images/train\nvalid: ../images/val\nnames: {0: open, 1: short}\n",
        "path: .\ntrain: [images/train]\nval: val.txt\nnames: [open, short]\n",
    ],
)
def test_a_yolo_folder_is_read_however_its_config_counts(tmp_path: Path, config: str) -> None:
    files(
        tmp_path, "images/train/a.jpg", "labels/train/a.txt", "images/val/b.PNG", "labels/val/b.txt", "images/val/c.jpg", "images/val/x.db"
    )
    (tmp_path / "val.txt").write_text("./images/val/b.PNG\nimages/val/c.jpg\n")
    (tmp_path / "data.yaml").write_text(config)
    assert splits(tmp_path) == {
        "images/train/a.jpg": ("train", True),
        "images/val/b.PNG": ("val", True),
        "images/val/c.jpg": ("val", False),
    }
    assert survey(tmp_path).names == LABELS


def test_an_image_in_two_splits_is_a_training_image(tmp_path: Path) -> None:
    files(tmp_path, "images/a.jpg")
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [open]\n")
    assert splits(tmp_path) == {"images/a.jpg": ("train", False)}


def test_a_folder_with_classes_txt_has_no_splits(tmp_path: Path) -> None:
    files(tmp_path, "images/line-1/a.jpg", "labels/line-1/a.txt")
    (tmp_path / "classes.txt").write_text("open\nshort\n\n")
    assert splits(tmp_path) == {"images/line-1/a.jpg": (None, True)}


def test_nothing_outside_of_the_folder_is_read(tmp_path: Path) -> None:
    files(tmp_path, "secret/a.jpg", "set/images/b.jpg")
    (tmp_path / "set/data.yaml").write_text(f"train: {tmp_path / 'secret'}\nval: ../secret\ntest: list.txt\nnames: [open]\n")
    (tmp_path / "set/list.txt").write_text("../secret/a.jpg\nimages/b.jpg\n")
    found = survey(tmp_path / "set")
    assert [sample.name for sample in found.samples] == ["images/b.jpg"]
    assert len(found.faults) == 2
    entries = [{"id": 1, "file_name": "../secret/a.jpg"}, {"id": 2, "file_name": "images/b.jpg"}]
    (tmp_path / "set/data.yaml").unlink()
    (tmp_path / "set/coco.json").write_text(json.dumps({"images": entries, "annotations": [], "categories": []}))
    found = survey(tmp_path / "set")
    assert [sample.name for sample in found.samples] == ["images/b.jpg"]
    assert len(found.faults) == 1


def test_coco_files_of_several_splits_are_one_dataset(tmp_path: Path) -> None:
    files(tmp_path, "train2017/a.jpg", "val2017/b.jpg", "test/c.jpg")
    categories = [{"id": 7, "name": "open"}, {"id": 3, "name": "short"}, {"id": 0, "name": "objects"}]
    for name, image in {
        "annotations/instances_train2017": "a",
        "annotations/instances_val2017": "b",
        "test/_annotations.coco": "c",
    }.items():
        entry = {"id": 5, "file_name": f"{image}.jpg", "width": WIDTH, "height": HEIGHT, "date_captured": "2024-05-06 07:08:09"}
        annotation = {"id": 1, "image_id": 5, "category_id": 3, "bbox": [0, 0, 9, 9]}
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"images": [entry], "annotations": [annotation], "categories": categories}))
    (tmp_path / "annotations/captions.json").write_text('{"images": [], "annotations": []}')
    assert splits(tmp_path) == {"train2017/a.jpg": ("train", True), "val2017/b.jpg": ("val", True), "test/c.jpg": ("test", True)}
    found = survey(tmp_path)
    assert found.names == ("short",)  # classes that nobody drew need no mapping
    assert str(found.samples[0].captured_at) == "2024-05-06 07:08:09+00:00"
    draw = found.samples[0].draw
    assert draw is not None and [box.label for box in draw(WIDTH, HEIGHT).boxes] == ["short"]
    with pytest.raises(InputError, match="upright"):
        draw(HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("config", "message"), [("names: []\ntrain: images\n", "no classes"), ("{", "cannot be read"), ("- 1\n", "no classes")]
)
def test_a_config_that_cannot_be_used_is_refused(tmp_path: Path, config: str, message: str) -> None:
    files(tmp_path, "images/a.jpg")
    (tmp_path / "data.yaml").write_text(config)
    with pytest.raises(InputError, match=message) as caught:
        survey(tmp_path)
    assert caught.value.cure


def test_a_folder_in_no_layout_is_refused(tmp_path: Path) -> None:
    files(tmp_path, "a.jpg", "notes.json")
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError):
            survey(folder)


@given(st.text(min_size=1, max_size=300), st.text(st.characters(categories=["L"]), min_size=1, max_size=100))
def test_external_ids_fit_the_column_and_follow_from_the_content(name: str, source: str) -> None:
    one, other = (external_id(source, name, letter * 64) for letter in "ab")
    assert len(one) <= 200 and one.isprintable() and one != other
