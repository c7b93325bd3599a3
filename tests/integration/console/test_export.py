"""An export: the zip and the folder hold the same, equal labels give equal bytes, and nobody else's files are touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from console.export import export_folder, files, gathered, zipped
from console.simulate.stock import Cut, Stock, take_stock
from labelwheel.database import Database
from labelwheel.database.tables import AnnotationRevision, Image, Label, Project
from labelwheel.errors import ConflictError, InputError
from labelwheel.project import grow_class_map
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision.drawn import from_regions
from labelwheel.vision.image import digest
from labelwheel.vision.label_config import parse
from retrain.dataset.folder import File
from retrain.dataset.format import Format
from tests.fixtures.shapes import SIDE
from tests.integration.retrain.conftest import database, label, project, settings

__all__ = ["database", "label", "project", "settings"]  # fixtures


@given(st.dictionaries(st.text("abc/", min_size=1, max_size=9), st.binary(max_size=999), max_size=9))
def test_a_zip_gives_back_what_it_was_made_of(contents: dict[str, bytes]) -> None:
    archive = ZipFile(BytesIO(b"".join(zipped(File(name, content) for name, content in contents.items()))))
    assert archive.testzip() is None
    assert {name: archive.read(name) for name in archive.namelist()} == contents


def folder_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def zip_of(pieces: Iterator[bytes]) -> dict[str, bytes]:
    archive = ZipFile(BytesIO(b"".join(pieces)))
    return {name: archive.read(name) for name in archive.namelist()}


def test_zip_and_folder_are_the_same_and_ultralytics_reads_them(
    database: Database, settings: Settings, project: Project, label: Callable[..., None], tmp_path: Path
) -> None:
    with pytest.raises(ConflictError, match="no approved label"):
        gathered(database, settings)
    label(0, 5, "train")
    label(5, 2, "holdout")
    beats: list[int] = []
    counts = export_folder(database, settings, tmp_path / "out", beats.append)
    assert (counts["images"], beats) == ({"train": 5, "holdout": 2}, [7] * 7)
    store = ImageStore(settings.images_dir)
    written = folder_of(tmp_path / "out")

    def pieces(*, images: bool = True) -> Iterator[bytes]:
        return zipped(files(gathered(database, settings), database, store, images=images))

    assert zip_of(pieces()) == written
    assert b"".join(pieces()) == b"".join(pieces())
    taken = list(take_stock(tmp_path / "out", ImageStore(tmp_path / "small"), Cut(64), settings))[-1]
    assert isinstance(taken, Stock) and {photo.source for photo in taken.photos} == set(counts["sources"]) and len(taken.photos) == 7
    assert all(digest(content) == Path(name).stem for name, content in written.items() if name.startswith("images/"))
    assert {name.split("/")[0] for name in zip_of(pieces(images=False))} == {"labels", "data.yaml", "manifest.json"}
    assert corrupt(tmp_path / "out") == {"train": (5, 5, 0), "val": (2, 2, 0)}
    label(7, 1, "train")
    before = {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("images/*/*")}
    assert export_folder(database, settings, tmp_path / "out")["images"] == {"train": 6, "holdout": 2}, "its caches are in nobody's way"
    after = {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("images/*/*")}
    assert before.items() <= after.items() and len(after) == 8, "only the new image was written"
    assert len(folder_of(tmp_path / "out")) == 8 * 2 + 2


READ = """
import json, sys
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset
data = check_det_dataset(sys.argv[1], autodownload=False)
found = {}
for part in ("train", "val"):
    read = YOLODataset(img_path=data[part], data=data, task="detect", imgsz=64, augment=False)
    cache = read.get_labels()
    found[part] = len(cache), sum(len(entry["cls"]) > 0 for entry in cache), len(read.im_files) - len(cache)
print(json.dumps(found))
"""


def corrupt(folder: Path) -> dict[str, tuple[int, int, int]]:
    """By ultralytics' own reading: images found, with boxes, and corrupt. In a process of its own: it patches Pillow and sets threads."""
    quiet = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(folder.parent), "YOLO_VERBOSE": "false"}
    argv = [sys.executable, "-c", READ, str(folder / "data.yaml")]
    done = subprocess.run(argv, env={**os.environ, **quiet}, capture_output=True, text=True, check=True, cwd=folder.parent)
    assert list(folder.rglob("*.cache"))
    return {part: tuple(counts) for part, counts in json.loads(done.stdout.splitlines()[-1]).items()}


def test_a_lost_image_is_left_out_and_named(
    database: Database, settings: Settings, project: Project, label: Callable[..., None], tmp_path: Path
) -> None:
    label(0, 3, "train")
    with database.read() as session:
        lost = session.query(Image).order_by(Image.id).first()
    assert lost is not None
    (settings.images_dir / lost.uri).unlink()
    counts = export_folder(database, settings, tmp_path / "out")
    assert (counts["images"], counts["excluded"]) == ({"train": 2}, 1)
    [entry] = [item for item in json.loads((tmp_path / "out/manifest.json").read_text())["items"] if item["status"] == "excluded"]
    assert entry["image"] == lost.sha256 and "cannot be read" in entry["reason"]


@pytest.mark.parametrize("stranger", ["notes.txt", "labels/train/mine.txt", "images/holdout/x.png", "link"])
def test_a_folder_with_other_files_is_refused_and_left_alone(
    stranger: str, database: Database, settings: Settings, project: Project, label: Callable[..., None], tmp_path: Path
) -> None:
    label(0, 1, "train")
    target = tmp_path / "out"
    export_folder(database, settings, target)
    (target / stranger).parent.mkdir(parents=True, exist_ok=True)
    (target / stranger).symlink_to(tmp_path) if stranger == "link" else (target / stranger).write_text("mine")
    before = folder_of(target)
    with pytest.raises(InputError, match="not written by an export"):
        export_folder(database, settings, target)
    assert folder_of(target) == before
    with pytest.raises(InputError, match="is a file"):
        export_folder(database, settings, target / "data.yaml")


def test_an_export_that_was_killed_leaves_what_was_there(
    database: Database, settings: Settings, project: Project, label: Callable[..., None], tmp_path: Path
) -> None:
    label(0, 2, "train")
    target = tmp_path / "out"
    export_folder(database, settings, target)
    before = folder_of(target)
    label(2, 2, "train")

    def kill(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_folder(database, settings, target, kill)
    assert folder_of(target) == before
    assert export_folder(database, settings, target)["images"] == {"train": 4}


DRAWN = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="square"/><Label value="disc"/></RectangleLabels>
<PolygonLabels name="area" toName="image"><Label value="stain"/></PolygonLabels>
<KeyPointLabels name="tip" toName="image"><Label value="tip"/></KeyPointLabels></View>"""


@pytest.fixture
def drawn(database: Database, project: Project, label: Callable[..., None]) -> None:
    """A label whose annotation has a turned rectangle, a polygon and a point; and one that was made of several annotations."""
    label(0, 2, "train")
    same = {"original_width": SIDE, "original_height": SIDE, "to_name": "image"}
    place = {"x": 50, "y": 20, "width": 20, "height": 30, "rotation": 30}
    points = [[10, 10], [30, 10], [10, 40]]
    result = [
        {**same, "id": "a", "type": "rectanglelabels", "from_name": "label", "value": {**place, "rectanglelabels": ["disc"]}},
        {**same, "id": "b", "type": "polygonlabels", "from_name": "area", "value": {"points": points, "polygonlabels": ["stain"]}},
        {**same, "id": "c", "type": "keypointlabels", "from_name": "tip", "value": {"x": 50, "y": 30, "keypointlabels": ["tip"]}},
    ]
    with database.write() as session:
        session.get_one(Project, project.id).label_config = DRAWN
        [boxes, _] = from_regions(result, parse(DRAWN), SIDE, SIDE)
        for row, moved in zip(session.scalars(select(Label).order_by(Label.id)), (0, 3), strict=True):
            session.get_one(AnnotationRevision, row.annotation_revision_id).body = {"result": result}
            row.boxes = [{**box.as_dict(), "box": [edge + moved for edge in box.box.as_tuple()]} for box in boxes]


@pytest.mark.parametrize(
    ("form", "columns", "dropped"),
    [(Format.yolo, [5], 0), (Format.obb, [9, 9], 1), (Format.seg, [9, 7], 1), (Format.pose, [8, 8], 0), (Format.coco, [5, 5], 0)],
)
def test_our_labels_are_exported_in_every_format_that_they_allow(
    form: Format, columns: list[int], dropped: int, drawn: None, database: Database, settings: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    counts = export_folder(database, settings, out, form=form)
    assert "no holdout" in counts["note"]
    names = json.loads((out / "data.yaml").read_text())["names"]
    assert names == ["disc", "square"] + ["stain"] * (form is not Format.yolo), "the class map's ids, then what only the config has"
    plan = gathered(database, settings).plan
    texts = [(out / f"labels/train/{item.sha256}.txt").read_text().splitlines() for item in plan.items]
    assert [[len(line.split()) for line in lines] for lines in texts] == [columns] * 2
    exact, merged = (lines[0].split()[1:] for _, lines in sorted(zip([item.label_id for item in plan.items], texts, strict=True)))
    if form in (Format.obb, Format.seg):
        assert [float(share) for share in exact[:2]] == pytest.approx([0.5, 0.2], abs=1e-6), "the corner that was drawn"
        assert merged[1] == merged[3], "of several annotations the label's box stands, upright"
    items = json.loads((out / "manifest.json").read_text())["items"]
    assert [len(item["dropped"]) for item in items] == [dropped] * 2
    assert all(item["regions_in"] == item["regions_out"] + len(item["dropped"]) for item in items)


RENAMED = {
    "tag": DRAWN.replace('name="label"', 'name="defects"'),
    "label": DRAWN.replace("disc", "round"),
    "kind and image": DRAWN.replace("<RectangleLabels", "<BrushLabels")
    .replace("</RectangleLabels", "</BrushLabels")
    .replace("$image", "$p"),
    "another model's": DRAWN.replace(
        "<Rect", '<RectangleLabels name="grade" toName="image" model="grade"><Label value="a"/></RectangleLabels><Rect'
    ),
}


@pytest.mark.parametrize("now", RENAMED.values(), ids=RENAMED)
def test_what_was_drawn_keeps_its_turn_when_the_label_config_changes(
    now: str, drawn: None, database: Database, settings: Settings, project: Project, tmp_path: Path
) -> None:
    export_folder(database, settings, tmp_path / "before", form=Format.obb)
    with database.write() as session:
        session.get_one(Project, project.id).label_config = DRAWN
        grow_class_map(session, project.id, ["square", "disc"], DRAWN)
        session.get_one(Project, project.id).label_config = now
        grow_class_map(session, project.id, ["square", "disc", "round"], now)
    export_folder(database, settings, tmp_path / "after", form=Format.obb)
    before, after = ([_discs(path) for path in sorted((tmp_path / name).glob("labels/train/*.txt"))] for name in ("before", "after"))
    assert after == before and len(before) == 2


def _discs(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line.startswith("0 ")]


def test_a_region_of_another_image_is_named_and_what_is_turned_and_written_upright_too(
    drawn: None, database: Database, settings: Settings, project: Project, tmp_path: Path
) -> None:
    other = '<Image name="r" value="$reference"/><PolygonLabels name="old" toName="r"><Label value="stain"/></PolygonLabels>'
    with database.write() as session:
        session.get_one(Project, project.id).label_config = DRAWN.replace("<View>", f"<View>{other}")
        for row in session.scalars(select(AnnotationRevision)):
            box, area, point = row.body["result"]
            row.body = {"result": [box, {**area, "from_name": "old", "to_name": "r"}, point]}
    export_folder(database, settings, tmp_path / "out", form=Format.obb)
    items = json.loads((tmp_path / "out/manifest.json").read_text())["items"]
    exact, merged = sorted(items, key=lambda item: item["label"])
    for item in items:
        assert {"region_id": "b", "reason": "drawn on another image of the task"} in item["dropped"]
        assert item["regions_out"] == 1
    [_, x, y, *_] = (tmp_path / "out" / exact["labels"]).read_text().split()
    assert (float(x), float(y)) == pytest.approx((0.5, 0.2), abs=1e-6), "it keeps its turn"
    assert "upright" not in exact and merged["upright"] == ["a"]


def test_a_format_for_which_the_label_config_has_nothing_is_refused(
    drawn: None, database: Database, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="nothing for yolo-cls"):
        export_folder(database, settings, tmp_path / "out", form=Format.cls)
