"""Tasks of any Label Studio, exported by the command with nothing that runs; ultralytics reads what comes out, in every format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import cv2
import numpy as np
import pytest

from console.from_json import export_tasks, read_classes
from labelwheel.errors import InputError
from labelwheel.settings import Settings
from retrain.dataset.format import Format
from tests.fixtures.drawn_tasks import CLASSES, CONFIG, make

TASKS = 8
LOAD = """
import json, sys
from retrain.training.torchvision import ensure_torchvision
ensure_torchvision()
from ultralytics.cfg import get_cfg
from ultralytics.data.dataset import ClassificationDataset, YOLODataset
from ultralytics.data.utils import check_det_dataset
found = {}
for form, task in json.loads(sys.argv[2]).items():
    folder = f"{sys.argv[1]}/{form}"
    if task == "classify":
        read = ClassificationDataset(f"{folder}/train", args=get_cfg(overrides={"imgsz": 32}))
        found[form] = len(read.samples), 0, sorted(read.base.classes)
        continue
    data = check_det_dataset(f"{folder}/data.yaml", autodownload=False)
    read = YOLODataset(img_path=data["train"], data=data, task=task, imgsz=32, augment=False)
    cache = read.get_labels()
    found[form] = len(cache), len(read.im_files) - len(cache), sum(len(entry["cls"]) for entry in cache)
print(json.dumps(found))
"""
TASK_OF = {"yolo": "detect", "yolo-obb": "obb", "yolo-seg": "segment", "yolo-pose": "pose", "yolo-cls": "classify", "coco": "detect"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a JSON export: images as files, in folders with equal names, in the text itself, one lost and one cut short."""
    place = tmp_path_factory.mktemp("json")
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed {seed}")
    tasks = [make(number, seed + number).task for number in range(1, TASKS + 1)]
    for number, (name, address) in enumerate(
        [("a/img.png", "a/img.png"), ("b/img.png", "/data/local-files/?d=b/img.png"), ("upload/4/c d.png", "/data/upload/4/c%20d.png")]
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b64decode(tasks[number]["data"]["image"].partition(",")[2]))
        tasks[number]["data"]["image"] = address
    whole = b64decode(tasks[3]["data"]["image"].partition(",")[2])
    (place / "cut.png").write_bytes(whole[: len(whole) // 2])
    outside = place.parent / f"{place.name}-outside.png"
    outside.write_bytes(whole)
    for address in ("cut.png", "lost.png", f"../{outside.name}", "https://images.example/a.jpg"):
        tasks.append({**tasks[3], "id": len(tasks) + 1, "data": {"image": address}})
    (place / "tasks.json").write_text(json.dumps(tasks))
    (place / "config.xml").write_text(CONFIG)
    return place


def run(place: Path, form: Format) -> dict:
    settings = Settings(home=place / "home")
    return export_tasks(place / "tasks.json", place / "config.xml", place / "out" / form.value, form, settings)


def test_ultralytics_finds_no_corrupt_image_in_any_format(place: Path) -> None:
    counts = {form.value: run(place, form) for form in Format}
    quiet = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(place), "YOLO_VERBOSE": "false"}
    argv = [sys.executable, "-c", LOAD, str(place / "out"), json.dumps(TASK_OF)]
    done = subprocess.run(argv, env={**os.environ, **quiet}, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for form, (images, corrupt, seen) in found.items():
        assert (images, corrupt) == (sum(counts[form]["images"].values()), 0), form
        assert images >= TASKS - 2, "a task may hold nothing but a broken region"
        assert set(seen) <= {"good", "bad"} if form == "yolo-cls" else seen == sum(counts[form]["boxes"].values()), form


def test_coco_holds_the_same_boxes_as_its_label_files(place: Path) -> None:
    run(place, Format.coco)
    folder = place / "out/coco"
    book = json.loads((folder / "annotations/instances_train.json").read_text())
    assert [category["name"] for category in book["categories"]] == CLASSES
    for image in book["images"]:
        lines = (folder / "labels" / image["file_name"]).with_suffix(".txt").read_text().splitlines()
        assert cv2.imread(str(folder / "images" / image["file_name"])).shape[:2] == (image["height"], image["width"])
        drawn = [one for one in book["annotations"] if one["image_id"] == image["id"]]
        assert len(drawn) == len(lines)
        for one, line in zip(drawn, lines, strict=True):
            class_id, cx, cy, w, h = map(float, line.split())
            x, y, across, down = one["bbox"]
            assert one["category_id"] == class_id + 1
            assert ((x + across / 2) / image["width"], (y + down / 2) / image["height"]) == pytest.approx((cx, cy), abs=1e-5)
            assert (across / image["width"], down / image["height"]) == pytest.approx((w, h), abs=1e-5)
            assert one["area"] <= across * down + 0.01 and len(one["segmentation"][0]) >= 6


def test_the_command_needs_no_home_and_says_what_it_did(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--from-json", str(place / "tasks.json"), "--label-config", str(place / "config.xml"), "--out", str(out)]
    argv = [sys.executable, "-m", "console", "export", *options]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}

    done = subprocess.run([*argv, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True, env=env)
    told = json.loads(done.stdout)
    assert told["excluded"] >= 4 and "no holdout" in told["note"]
    reasons = [item["reason"] for item in json.loads((out / "manifest.json").read_text())["items"][TASKS:]]
    assert "damaged or cut short" in reasons[0]
    assert "is no file below" in reasons[1] and "is no file below" in reasons[2]
    assert "Nobody allowed to fetch" in reasons[3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"], "no home is made"


def test_class_ids_outlive_the_export_they_were_stated_in(place: Path, tmp_path: Path) -> None:
    source, out, settings = (place / "tasks.json", place / "config.xml"), tmp_path / "out", Settings(home=tmp_path / "home")
    (tmp_path / "later.txt").write_text("rust\n")
    export_tasks(*source, out, Format.yolo, settings, images=False, classes=tmp_path / "later.txt")
    assert json.loads((out / "data.yaml").read_text())["names"] == ["rust", *CLASSES[:-1]]
    assert not (out / "images").exists()
    export_tasks(*source, out, Format.seg, settings, images=False)
    assert json.loads((out / "data.yaml").read_text())["names"] == ["rust", *CLASSES[:-1]], "the export that was replaced left them"
    with pytest.raises(InputError, match="folders of images"):
        export_tasks(*source, out, Format.cls, settings, images=False)


def test_what_cannot_be_read_is_refused_with_a_cure(place: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        export_tasks(place / "tasks.json", place / "none.xml", tmp_path / "out", Format.yolo, settings)
    (tmp_path / "empty.xml").write_text("<View/>")
    with pytest.raises(InputError, match="no tag to draw"):
        export_tasks(place / "tasks.json", tmp_path / "empty.xml", tmp_path / "out", Format.yolo, settings)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_to_is_told(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/labels")):
        with pytest.raises(InputError, match=rf"^{out} (is a file|cannot be written to)") as told:
            export_tasks(place / "tasks.json", place / "config.xml", out, Format.yolo, Settings(home=tmp_path), images=False)
        assert told.value.cure.startswith("Name a folder")


def test_an_export_of_nothing_is_refused_and_the_earlier_one_stays(place: Path, tmp_path: Path) -> None:
    settings, out = Settings(home=tmp_path / "home"), tmp_path / "out"
    export_tasks(place / "tasks.json", place / "config.xml", out, Format.yolo, settings, images=False)
    before = (out / "manifest.json").read_bytes()
    tasks = json.loads((place / "tasks.json").read_text())
    (tmp_path / "none.json").write_text("[]")
    (tmp_path / "unlabelled.json").write_text(json.dumps([{**task, "annotations": []} for task in tasks]))
    (tmp_path / "files.json").write_text(json.dumps(tasks[:3]))
    for source, root, why in (
        ("files.json", tmp_path / "nodir", "nodir is no folder"),
        ("files.json", tmp_path, r"None of the 3 tasks can be exported, .* no image: "),
        ("none.json", None, "no task"),
        ("unlabelled.json", None, "None of the"),
    ):
        with pytest.raises(InputError, match=why):
            export_tasks(tmp_path / source, place / "config.xml", out, Format.yolo, settings, images_root=root)
    assert (out / "manifest.json").read_bytes() == before
    assert not (tmp_path / ".out.draft").exists()


def test_classes_come_from_a_list_of_classes_alone(place: Path, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: dent\n")
    for file in (place / "config.xml", tmp_path / "data.yaml"):
        with pytest.raises(InputError, match=r"no list of classes|names no classes") as told:
            read_classes(file)
        assert "data.yaml" in told.value.cure
