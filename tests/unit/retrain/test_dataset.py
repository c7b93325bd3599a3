"""Which labels enter a dataset, in which split, under which name: on a real database, without a trainer."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture
from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database import Database, migrate
from labelwheel.database.tables import AnnotationRevision, Capture, ClassMap, Dataset, Image, Label, Project, TrainingRun
from labelwheel.errors import DatasetError
from labelwheel.project import change_classes
from labelwheel.storage import ImageStore
from labelwheel.vision import class_change, class_map
from labelwheel.vision.class_change import Changed
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.drawn import from_regions
from labelwheel.vision.geometry import Box, iou_matrix
from labelwheel.vision.image import digest
from labelwheel.vision.label_config import parse
from retrain.dataset import content, labels, own, yolo
from retrain.dataset.lines import from_text, to_text
from retrain.dataset.own import ORIENTATION

NOW = datetime(2026, 11, 23, tzinfo=UTC)
CLASSES = class_map.ClassMap(("dent", "scratch"))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/wheel.db"
    migrate(url)
    database = Database(url)
    with database.write() as session:
        session.add(Project(ls_url="u", ls_project_id=1, title="t", label_config="", salt="s"))
        session.flush()
        session.add(ClassMap(project_id=1, version=1, labels=list(CLASSES.labels)))
    yield database
    database.dispose()


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


def add(
    session: Session, store: ImageStore, number: int, *splits: str, data: bytes | None = None, size: tuple[int, int] = (40, 30)
) -> Image:
    """An image with one capture for each split."""
    data = data or cv2.imencode(".png", np.full((size[1], size[0], 3), number, np.uint8))[1].tobytes()
    suffix = ".jpg" if data[:2] == b"\xff\xd8" else ".png"
    image = Image(
        project_id=1, sha256=digest(data), width=size[0], height=size[1], size=len(data), uri=store.put(data, digest(data), suffix)
    )
    session.add(image)
    session.flush()
    for place, split in enumerate(splits):
        session.add(
            Capture(
                project_id=1,
                image_id=image.id,
                source=f"line-{place}",
                external_id=f"{number}-{place}",
                captured_at=NOW,
                features={},
                split=split,
                audit=False,
                propensity=0.1,
            )
        )
    return image


def draw(session: Session, image: Image, *boxes: tuple[str, list[float]], approved: int | None = 0, **values: object) -> Label:
    """A label of an image, approved so many minutes after NOW."""
    moment = NOW + timedelta(minutes=approved or 0)
    revision = AnnotationRevision(
        project_id=1, unique_id=f"u{image.id}-{approved}", updated_at=moment, key=f"k{image.id}", ls_annotation_id=1,
        ls_task_id=700 + image.id, annotator="anna", was_cancelled=False, body={},
    )  # fmt: skip
    session.add(revision)
    session.flush()
    given = [{"label": name, "box": box, "region_id": f"r{n}", "origin": "manual"} for n, (name, box) in enumerate(boxes)]
    label = Label(
        project_id=1, image_id=image.id, annotation_revision_id=revision.id, boxes=given, exclusions=[], annotator="anna",
        annotated_at=moment, approved_at=None if approved is None else moment, **values,
    )  # fmt: skip
    session.add(label)
    session.flush()
    return label


def plan(session: Session, replay: float | None = None, seed: int = 1) -> content.Plan:
    return content.plan(session, 1, session.get_one(ClassMap, 1), replay=replay, seed=seed)


def test_only_the_newest_standing_approved_label_of_an_image_counts(database: Database, store: ImageStore) -> None:
    with database.write() as session:
        image = add(session, store, 1, "train")
        draw(session, image, ("dent", [0, 0, 9, 9]), approved=1)
        newest = draw(session, image, ("dent", [0, 0, 8, 8]), approved=2)
        draw(session, image, ("dent", [0, 0, 7, 7]), approved=3, withdrawn_at=NOW)
        draw(session, image, ("dent", [0, 0, 6, 6]), approved=4, superseded_by=newest.id)
        draw(session, image, ("dent", [0, 0, 5, 5]), approved=None)
    with database.read() as session:
        assert [item.label_id for item in plan(session).items] == [newest.id]


@pytest.mark.parametrize(
    ("splits", "split"),
    [(["train"], "train"), (["train", "holdout"], "holdout"), (["holdout", "quarantined"], "quarantined"), ([], "quarantined")],
)
def test_split_of_an_image_that_arrived_several_times(splits: list[str], split: str) -> None:
    assert labels.split_of(splits) == split


def test_the_folder_accounts_for_every_label(database: Database, store: ImageStore, tmp_path: Path) -> None:
    with database.write() as session:
        for number, split in enumerate(("train", "holdout", "quarantined", "train")):
            boxes = [] if number == 3 else [("scratch", [10.0, 6.0, 30.0, 24.0]), ("stranger", [0, 0, 5, 5])]
            draw(session, add(session, store, number, split), *boxes)
    with database.read() as session:
        chosen = plan(session)
    folder = tmp_path / "out"
    yolo.write(chosen, store, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert Counter(item["status"] for item in manifest["items"]) == {"labeled": 2, "background": 1, "excluded": 1}
    assert sorted(item["task"] for item in manifest["items"]) == [701, 702, 703, 704]
    excluded = next(item for item in manifest["items"] if item["status"] == "excluded")
    assert excluded["labels"] is None and "quarantined" in excluded["reason"]
    labeled = next(item for item in manifest["items"] if item["split"] == "holdout")
    assert (labeled["regions_in"], labeled["regions_out"]) == (2, 1)
    assert "stranger" in labeled["dropped"][0]["reason"]
    assert (folder / labeled["labels"]).read_text() == "1 0.500000000 0.500000000 0.500000000 0.600000000\n"
    background = next(item for item in manifest["items"] if item["status"] == "background")
    assert (folder / background["labels"]).read_text() == ""
    for file in (*folder.glob("images/train/*"), *folder.glob("images/holdout/*")):
        assert digest(file.read_bytes()) == file.stem
        assert file.stat().st_nlink == 1  # ultralytics may write to it


def test_a_turned_image_is_written_upright(database: Database, store: ImageStore, tmp_path: Path) -> None:
    upright = np.zeros((30, 40, 3), np.uint8)
    upright[:, 20:] = 255
    exif = Picture.Exif()
    exif[ORIENTATION] = 6  # shown turned by a quarter clockwise
    path = tmp_path / "turned.jpg"
    Picture.fromarray(np.rot90(upright).copy()).save(path, exif=exif, quality=95)
    with database.write() as session:
        draw(session, add(session, store, 1, "train", data=path.read_bytes()), ("dent", [20, 0, 40, 30]))
    with database.read() as session:
        yolo.write(plan(session), store, tmp_path / "out")
    (file,) = (tmp_path / "out/images/train").iterdir()
    pixels = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert pixels.shape == (30, 40, 3)
    assert pixels[:, 25:].mean() > 240 > 15 > pixels[:, :15].mean()


def test_the_hash_changes_with_what_training_sees_and_with_nothing_else(database: Database, store: ImageStore) -> None:
    with database.write() as session:
        image = add(session, store, 1, "train")
        draw(session, image, ("dent", [0, 0, 9, 9]), approved=1)
        draw(session, add(session, store, 2, "holdout"), ("dent", [0, 0, 9, 9]))
    with database.read() as session:
        before = plan(session)
        assert plan(session).content_hash == before.content_hash
    with database.write() as session:
        draw(session, image, ("dent", [0, 0, 9, 9.5]), approved=2)
    with database.read() as session:
        assert plan(session).content_hash != before.content_hash


def test_a_stored_dataset_reads_the_same_after_its_labels_were_superseded(database: Database, store: ImageStore) -> None:
    with database.write() as session:
        image = add(session, store, 1, "train")
        old = draw(session, image, ("dent", [0, 0, 9, 9]), approved=1)
        chosen = plan(session)
        stored = content.remember(session, 1, session.get_one(ClassMap, 1), chosen, "datasets/x", "d")
        assert content.remember(session, 1, session.get_one(ClassMap, 1), chosen, "datasets/x", "d").id == stored.id
        old.superseded_by = draw(session, image, approved=2).id
    with database.read() as session:
        assert content.recall(session, stored.id).items == chosen.items


def test_labels_of_finished_runs_are_used_up_and_those_of_failed_ones_are_not(database: Database, store: ImageStore) -> None:
    with database.write() as session:
        label = draw(session, add(session, store, 1, "train"))
        held = draw(session, add(session, store, 2, "holdout"))
        stored = content.remember(session, 1, session.get_one(ClassMap, 1), plan(session), "x", "d")
        run = TrainingRun(project_id=1, cause="manual", status="failed", dataset_id=stored.id)
        session.add(run)
        session.flush()
        assert labels.consumed(session, 1) == set()
        run.status = "kept_champion"
        session.flush()
        assert labels.consumed(session, 1) == {label.id} and held.id not in labels.consumed(session, 1)
        assert session.get_one(Dataset, stored.id).counts["images"] == {"holdout": 1, "train": 1}


def change(session: Session, act: Callable[[class_map.ClassMap], Changed]) -> ClassMap:
    return change_classes(session, 1, act, "anna", "")


def test_labels_are_read_under_todays_names_and_a_removed_class_is_no_background(database: Database, store: ImageStore) -> None:
    with database.write() as session:
        for number, names in enumerate((["dent"], ["scratch"], ["dent", "scratch"], [])):
            draw(session, add(session, store, number, "train"), *[(name, [0.0, 0.0, 9.0, 9.0]) for name in names])
        before = plan(session)
        stored = content.remember(session, 1, session.get_one(ClassMap, 1), before, "x", "d")
        renamed = change(session, lambda known: class_change.rename(known, "dent", "bump"))
        chosen = content.plan(session, 1, renamed, replay=None, seed=1)
        assert (chosen.class_map.labels, chosen.counts()["boxes"]) == (("bump", "scratch"), {"bump": 2, "scratch": 2})
        assert chosen.texts == before.texts, "ids stay"
        removed = change(session, lambda known: class_change.remove(known, "scratch"))
        chosen = content.plan(session, 1, removed, replay=None, seed=1)
        assert (chosen.counts()["boxes"], chosen.counts()["background"]) == ({"bump": 2}, 1)
        assert [item.reason for item in chosen.excluded] == ["class 'scratch' was removed"]
        assert len(labels.approved(session, 1)) == 4 and len(labels.usable(session, 1)) == 3, "it is not waited for"
        assert [region["reason"] for item in chosen.items for region in item.dropped] == ["class 'scratch' was removed"]
        change(session, lambda known: class_change.restore(known, "scratch"))
        merged = change(session, lambda known: class_change.merge(known, ["bump", "scratch"], "mark"))
        chosen = content.plan(session, 1, merged, replay=None, seed=1)
        assert (chosen.counts()["boxes"], chosen.class_map.labels) == ({"mark": 4}, ("mark", "scratch"))
        assert "1 " not in "".join(chosen.texts)
        assert content.recall(session, stored.id) == before, "what was stored keeps its names"


def ran(session: Session, chosen: content.Plan) -> TrainingRun:
    """A finished run that was trained on the plan."""
    stored = content.remember(session, 1, session.get_one(ClassMap, 1), chosen, "x", "d")
    run = TrainingRun(project_id=1, cause="manual", status="kept_champion", dataset_id=stored.id)
    session.add(run)
    session.flush()
    return run


def test_a_new_label_of_a_removed_class_alone_does_not_shrink_a_warm_start(database: Database, store: ImageStore) -> None:
    with database.write() as session:
        for number in range(20):
            draw(session, add(session, store, number, "train"), ("dent", [0.0, 0.0, 9.0, 9.0]))
        ran(session, plan(session))
        removed = change(session, lambda known: class_change.remove(known, "scratch"))
        empty = draw(session, add(session, store, 20, "train"), ("scratch", [0.0, 0.0, 9.0, 9.0]))
        chosen = content.plan(session, 1, removed, replay=1.0, seed=1)
        assert chosen.counts()["images"] == {"replay": 20}, "nothing new can be used, so all old ones are repeated"
        assert [one.label_id for one in chosen.excluded] == [empty.id]
        new = draw(session, add(session, store, 21, "train"), ("dent", [0.0, 0.0, 9.0, 9.0]))
        chosen = content.plan(session, 1, removed, replay=2.0, seed=1)
        assert [item.label_id for item in chosen.only("train")] == [new.id] and len(chosen.only("replay")) == 2
        assert [one.label_id for one in chosen.excluded] == [empty.id]


def test_a_control_trains_on_old_labels_that_still_stand_and_train(database: Database, store: ImageStore) -> None:
    with database.write() as session:
        old = [draw(session, add(session, store, number, "train"), ("dent", [0.0, 0.0, 9.0, 9.0])) for number in range(12)]
        ran(session, plan(session))
        for rejected in old[:5]:
            rejected.withdrawn_at = NOW
        draw(session, session.get_one(Image, old[5].image_id), ("dent", [0.0, 0.0, 9.0, 8.0]), approved=1)
        for number in range(21, 25):
            draw(session, add(session, store, number, "train"), ("dent", [0.0, 0.0, 9.0, 9.0]), approved=2)
        chosen = plan(session, replay=0.4)
        run = ran(session, chosen)
        spare = {label.id for label in old[6:]} - {item.label_id for item in chosen.only("replay")}
        judging, *kept = sorted(spare)
        capture = session.scalars(select(Capture).where(Capture.image_id == session.get_one(Label, judging).image_id)).one()
        capture.split = "holdout"
        session.flush()
        control = content.old_items(session, 1, run.id, chosen, seed=1)
        replayed = {item.label_id for item in chosen.only("replay")}
        assert {item.label_id for item in control.only("replay")} == replayed | set(kept)
        assert content.old_items(session, 1, run.id, chosen, seed=1) == control


def test_the_control_of_a_run_on_all_labels_has_the_old_ones_among_them(database: Database, store: ImageStore) -> None:
    with database.write() as session:
        old = [draw(session, add(session, store, number, "train"), ("dent", [0.0, 0.0, 9.0, 9.0])) for number in range(6)]
        ran(session, plan(session))
        for number in range(6, 10):
            draw(session, add(session, store, number, "train"), ("dent", [0.0, 0.0, 9.0, 9.0]))
        chosen = plan(session)
        assert chosen.counts()["images"] == {"train": 10}
        control = content.old_items(session, 1, ran(session, chosen).id, chosen, seed=1)
        assert {item.label_id for item in control.only("replay")} == {label.id for label in old} and not control.only("train")


def test_the_holdout_has_a_version_that_follows_its_content_only(database: Database, store: ImageStore) -> None:
    with database.write() as session:
        draw(session, add(session, store, 1, "train"), ("dent", [0.0, 0.0, 9.0, 9.0]))
        assert plan(session).holdout is None
        draw(session, held := add(session, store, 2, "holdout"), ("dent", [0.0, 0.0, 9.0, 9.0]), approved=1)
        first = plan(session)
        assert content.remember(session, 1, session.get_one(ClassMap, 1), first, "x", "d").holdout == first.holdout
        draw(session, add(session, store, 3, "train"))
        renamed = change(session, lambda known: class_change.rename(known, "dent", "bump"))
        again = content.plan(session, 1, renamed, replay=None, seed=1)
        assert again.holdout == first.holdout and again.content_hash != first.content_hash
        draw(session, held, ("dent", [0.0, 0.0, 9.0, 9.5]), approved=2)
        assert plan(session).holdout != first.holdout


def test_classes_and_sources_are_counted_by_split(database: Database, store: ImageStore) -> None:
    with database.write() as session:
        for number, split in enumerate(("train", "train", "holdout", "quarantined")):
            draw(session, add(session, store, number, split), ("dent", [0.0, 0.0, 9.0, 9.0]), ("scratch", [1.0, 1.0, 9.0, 9.0]))
        counts = plan(session).counts()
    assert counts["boxes_by_split"] == {"dent": {"holdout": 1, "train": 2}, "scratch": {"holdout": 1, "train": 2}}
    assert counts["sources_by_split"] == {"line-0": {"holdout": 1, "train": 2}}
    assert (counts["quarantined"], counts["excluded"]) == (1, 1)


def test_without_training_labels_there_is_no_dataset(database: Database, store: ImageStore) -> None:
    with database.write() as session:
        draw(session, add(session, store, 1, "holdout"))
    with database.read() as session, pytest.raises(DatasetError, match="no approved label"):
        plan(session)


@given(
    splits=st.dictionaries(st.integers(1, 200), st.sampled_from(["train", "holdout", "quarantined"]), max_size=60),
    old=st.sets(st.integers(1, 200)),
    replay=st.floats(0, 3),
    seed=st.integers(0, 99),
)
def test_a_warm_start_takes_all_new_labels_all_of_the_holdout_and_its_share_of_old_ones(
    splits: dict[int, str], old: set[int], replay: float, seed: int
) -> None:
    drawn = content.draw(splits, old, replay, seed)
    assert drawn == content.draw(splits, old, replay, seed)
    trainable = {label for label, split in splits.items() if split == "train"}
    new, known = trainable - old, trainable & old
    assert {label for label, split in drawn.items() if split == "train"} == new
    replayed = {label for label, split in drawn.items() if split == "replay"}
    assert replayed <= known
    assert len(replayed) == (min(round(replay * len(new)), len(known)) if new else len(known))
    assert {k: v for k, v in drawn.items() if v in ("holdout", "quarantined")} == {k: v for k, v in splits.items() if v != "train"}


@pytest.mark.parametrize("y", [20, -12])
def test_a_turned_rectangle_keeps_its_turn_also_where_the_frame_cuts_it(y: float) -> None:
    config = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="dent"/></RectangleLabels></View>"""
    value = {"x": 60, "y": y, "width": 10, "height": 60, "rotation": 45, "rectanglelabels": ["dent"]}
    result = [{"id": "r", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": value}]
    [boxes, _] = from_regions(result, parse(config), 100, 100)
    item = content.Item(1, 1, "a", "u", 100, 100, "train", "line", tuple(boxes), (), "anna", 1, "k")
    drawn = own.drawing(item, own.canvas_of(config, []), result)
    assert drawn.shapes[0].corners[0] == (60, y)
    assert own.straightened(result, drawn.shapes) == []
    moved = dataclasses.replace(item, boxes=(dataclasses.replace(boxes[0], box=Box(1, 1, 9, 9)),))
    drawn = own.drawing(moved, own.canvas_of(config, []), result)
    assert drawn.shapes[0].corners[0] == (1, 1)
    assert own.straightened(result, drawn.shapes) == ["r"]


@given(
    st.lists(st.tuples(st.sampled_from(CLASSES.labels), *[st.floats(0, 0.98)] * 2, *[st.floats(0.002, 1)] * 2), max_size=8),
    st.integers(32, 8000),
    st.integers(32, 8000),
)
def test_yolo_text_keeps_every_box(rows: list[tuple[str, float, float, float, float]], width: int, height: int) -> None:
    boxes = [LabelledBox(name, Box(x * width, y * height, min(x + w, 1) * width, min(y + h, 1) * height)) for name, x, y, w, h in rows]
    back = from_text(to_text(boxes, CLASSES, width, height), CLASSES, width, height)
    assert [box.label for box in back] == [box.label for box in boxes]
    if boxes:
        overlaps = iou_matrix([box.box.as_tuple() for box in boxes], [box.box.as_tuple() for box in back])
        assert np.diag(overlaps).min() >= 0.999
