"""`labelwheel dataset import` on a real database and store: labels as the mirror gives them, counted as what they are, and once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import delete, func, select
from typer.testing import CliRunner

from console.dataset import app, bring
from labelwheel.database.tables import AnnotationRevision, Capture, Image, Label, LsTask, QueueItem
from labelwheel.draw import draw
from labelwheel.errors import InputError
from labelwheel.project import current_class_map
from labelwheel.settings import PREFIX, get_settings
from retrain import policy
from retrain.dataset import content as contents
from retrain.dataset import labels
from sync.exchange.mirror import mirror_tasks
from sync.exchange.task import task_key
from sync.review.reading import Reading, reading_of
from sync.review.settle import mark_deleted, settle
from sync.selection.select import select_captures
from tests.fixtures.line import Line, picture, still

IMAGES = 8
WIDTH, HEIGHT = 96, 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures in YOLO's layout, the last two for validation; class ids are not ours, one class is no label."""
    root = tmp_path / "boards"
    for number in range(IMAGES):
        split = "train" if number < 6 else "val"
        put(root / f"images/{split}/{number}.png", picture(number))
        put(root / f"labels/{split}/{number}.txt", f"{number % 3} 0.5 0.5 0.25 0.5\n".encode())
    put(root / "data.yaml", b"train: images/train\nval: images/val\nnames: [Short, gap, dust]\n")
    return root


@pytest.fixture
def desk(line: Line, monkeypatch: pytest.MonkeyPatch) -> Line:
    """The line, with an environment in which the command finds it."""
    monkeypatch.setenv(f"{PREFIX}LABEL_STUDIO_URL", line.settings.label_studio_url)
    monkeypatch.setenv(f"{PREFIX}AUDIT_RATE", "0.5")
    get_settings.cache_clear()
    return line


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def run(folder: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["import", str(folder), "--map", "gap=open", "--map", "dust=", "--json", *more])


def told(result: Result) -> dict[str, Any]:
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def content(line: Line) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that an import writes, without row ids and moments of writing."""
    with line.database.read() as session:
        captures = select(Capture.external_id, Capture.source, Capture.captured_at, Capture.split, Capture.audit, Image.sha256).join(Image)
        drawn = select(Image.sha256, Label.boxes, Label.exclusions, Label.annotator, Label.superseded_by, Label.withdrawn_at).join(Image)
        mirror = select(AnnotationRevision.unique_id, AnnotationRevision.key, AnnotationRevision.annotator, AnnotationRevision.body)
        queries = {"captures": captures, "labels": drawn, "mirror": mirror, "images": select(Image.sha256, Image.uri, Image.size)}
        return {name: sorted(map(tuple, session.execute(query).all()), key=repr) for name, query in queries.items()}


def in_force(line: Line) -> dict[str, Label]:
    """SHA-256 of an image → its label that counts."""
    with line.database.read() as session:
        ids = list(labels.approved(session, line.project.id).values())
        query = select(Image.sha256, Label).join(Image, Image.id == Label.image_id).where(Label.id.in_(ids))
        return dict(session.execute(query).tuples().all())


def reading(line: Line) -> Reading:
    with line.database.read() as session:
        return reading_of(session, line.project, line.settings)


def image_of(line: Line, number: int) -> Image:
    from labelwheel.vision.image import digest

    with line.database.read() as session:
        return session.scalars(select(Image).where(Image.sha256 == digest(picture(number)))).one()


def test_images_become_captures_and_their_labels_reviewed_ones(desk: Line, folder: Path) -> None:
    first = told(run(folder, "--captured-at", "2025-01-02T03:04:05"))
    assert [first[name] for name in ("imported", "known", "skipped", "boxes", "faults")] == [IMAGES, 0, 0, 6, []]
    found = in_force(desk)
    assert len(found) == IMAGES
    label = found[image_of(desk, 1).sha256]
    assert (label.annotator, label.exclusions, label.withdrawn_at) == ("import:boards", [], None)
    (box,) = label.boxes
    assert (box["label"], box["box"]) == ("open", pytest.approx([36, 16, 60, 48]))
    assert found[image_of(desk, 2).sha256].boxes == []  # its one box is of a class that is ignored
    with desk.database.read() as session:
        captures = list(session.scalars(select(Capture)))
        assert {capture.source for capture in captures} == {"boards"}
        assert {capture.captured_at for capture in captures} == {datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)}
    before = content(desk)
    assert told(run(folder))["known"] == IMAGES
    assert content(desk) == before


@pytest.mark.parametrize("rule", ["draw", "keep", "none"])
def test_what_the_weights_were_trained_on_never_judges(desk: Line, folder: Path, rule: str) -> None:
    run(folder, "--holdout", rule)
    with desk.database.read() as session:
        rows = session.execute(select(Capture.external_id, Capture.split, Image.sha256).join(Image)).all()
    for name, split, sha256 in rows:
        lot = draw(desk.project.salt, sha256, 0.5, get_settings().holdout_rate).split
        judges = {"draw": lot, "keep": "holdout", "none": "train"}[rule]
        assert split == (judges if "/val/" in name else "train")


def test_frames_of_one_still_scene_share_a_split_and_that_of_those_that_were_trained_on(desk: Line, tmp_path: Path) -> None:
    scenes = {"test": range(12), "train": range(12, 14)}  # in the order of their names the judges would come first
    for split, levels in scenes.items():
        for level in levels:
            put(tmp_path / f"still/images/{split}/{level}.png", still(1, level))
            put(tmp_path / f"still/labels/{split}/{level}.txt", b"1 0.5 0.5 0.25 0.5\n")
            put(tmp_path / f"still/images/{split}/other-{level}.png", still(2 + level, 0))
            put(tmp_path / f"still/labels/{split}/other-{level}.txt", b"")
    put(tmp_path / "still/data.yaml", b"train: images/train\nval: images/test\nnames: [short, gap, dust]\n")
    assert told(run(tmp_path / "still", "--captured-at", "2026-11-23T06:00:00"))["imported"] == 28
    with desk.database.read() as session:
        rows = dict(session.execute(select(Capture.external_id, Capture.split)).tuples().all())
    assert {split for name, split in rows.items() if "other" not in name} == {"train"}


def test_a_rebuild_from_the_mirror_gives_equal_rows(desk: Line, folder: Path) -> None:
    run(folder)
    put(folder / "labels/train/1.txt", b"0 0.5 0.5 0.5 0.5\n")
    assert told(run(folder))["imported"] == 1  # the dataset was mended: its new word supersedes the old one
    before = content(desk)["labels"]
    with desk.database.write() as session:
        session.execute(delete(Label))
        for image in session.scalars(select(Image)):
            settle(session, desk.project.id, reading(desk), [image.id])
    after = content(desk)["labels"]
    assert len(after) == IMAGES + 1
    assert [row[:4] for row in after] == [row[:4] for row in before]
    assert in_force(desk)[image_of(desk, 1).sha256].boxes[0]["label"] == "short"


def test_a_persons_word_outranks_the_dataset_and_the_pull_withdraws_nothing(desk: Line, folder: Path) -> None:
    run(folder)
    image = image_of(desk, 1)
    with desk.database.write() as session:
        task = _task_of(session, desk, image)
        annotation = {
            "id": 5, "created_at": "2020-01-01T00:00:00+00:00", "updated_at": "2020-01-01T00:00:00+00:00", "completed_by": 1, "result": [],
        }  # fmt: skip
        answer = {"id": 3, "data": {"labelwheel_key": task.key}, "updated_at": "2020-01-01T00:00:00+00:00", "annotations": [annotation]}
        change = mirror_tasks(session, desk.project, [answer], {1: "anna@plant.example"})
        settle(session, desk.project.id, reading(desk), change.touched, change.keys)
    assert in_force(desk)[image.sha256].annotator == "anna@plant.example"  # years before the import
    assert told(run(folder))["known"] == IMAGES
    with desk.database.write() as session:
        change = mirror_tasks(session, desk.project, [{**answer, "annotations": []}], {})
        settle(session, desk.project.id, reading(desk), change.touched, change.keys)
    assert in_force(desk)[image.sha256].annotator == "import:boards"
    with desk.database.write() as session:
        mark_deleted(session, desk.project.id, reading(desk), [session.scalars(select(LsTask)).one()])
    assert len(in_force(desk)) == IMAGES


def _task_of(session: Any, desk: Line, image: Image) -> LsTask:
    capture = session.scalars(select(Capture).where(Capture.image_id == image.id)).one()
    item = QueueItem(
        project_id=desk.project.id, image_id=image.id, capture_id=capture.id, status="pushed", reason="audit", priority=1, scores={}
    )
    session.add(item)
    session.flush()
    task = LsTask(project_id=desk.project.id, key=task_key(item), queue_item_id=item.id, ls_task_id=3)
    session.add(task)
    session.flush()
    return task


def test_brought_labels_are_replayed_and_make_no_policy_fire(desk: Line, folder: Path) -> None:
    run(folder, "--holdout", "none")
    settings = desk.settings.model_copy(update={"first_labels": 4, "min_new_labels": 4, "label_quiet_seconds": 0})
    with desk.database.read() as session:
        cold = policy.observe(session, desk.project, settings, datetime.now(UTC))
        assert (cold.train_labels, cold.new_labels) == (0, 0)
        assert not policy.conditions(session, desk.project, settings)["should_retrain"]
        classes = current_class_map(session, desk.project.id)
        chosen = contents.plan(session, desk.project.id, classes, replay=1.0, seed=1)
        assert {item.split for item in chosen.items} == {"replay"}
        assert len(contents.plan(session, desk.project.id, classes, replay=None, seed=1).only("train")) == IMAGES

    assert told(run(folder, "--count-as-new"))["imported"] == IMAGES
    with desk.database.read() as session:
        assert policy.observe(session, desk.project, settings, datetime.now(UTC)).new_labels == IMAGES
        assert policy.conditions(session, desk.project, settings)["should_retrain"]
        assert session.scalar(select(func.count()).select_from(Capture)) == IMAGES


def test_nobody_is_asked_for_what_is_labelled_already(desk: Line, folder: Path) -> None:
    run(folder)
    desk.inspect(100)
    assert select_captures(desk.database, desk.settings, datetime.now(UTC)) == 1
    with desk.database.read() as session:
        assert session.scalars(select(Capture.external_id).join(QueueItem, QueueItem.capture_id == Capture.id)).all() == ["c-100"]


def test_an_image_that_a_camera_sent_is_known_and_keeps_its_split(desk: Line, folder: Path) -> None:
    desk.inspect(6)
    assert told(run(folder, "--holdout", "keep"))["imported"] == IMAGES
    with desk.database.read() as session:
        mine = session.execute(select(Capture.external_id, Capture.split).where(Capture.image_id == image_of(desk, 6).id)).all()
        assert [tuple(row) for row in mine] == [("c-6", "train")]
    assert len(in_force(desk)[image_of(desk, 6).sha256].boxes) == 1


def test_bad_files_and_boxes_are_named_and_the_rest_is_imported(desk: Line, folder: Path) -> None:
    put(folder / "images/train/0.png", picture(0)[:50])
    put(folder / "images/train/twin.png", picture(1))
    put(folder / "labels/train/twin.txt", b"0 .5 .5 .1 .1\n")
    put(folder / "labels/train/3.txt", b"0 .5 .5 .25 .5\n9 .5 .5 .1 .1\n")
    put(folder / "labels/train/4.txt", b"\xff\xfe\x00")
    (folder / "labels/train/5.txt").unlink()
    result = run(folder)
    found = told(result)
    assert result.exit_code == 1
    assert (found["imported"], found["known"], found["skipped"]) == (5, 1, 3)
    named = {fault.split(":")[0] for fault in found["faults"]}
    assert named == {f"images/train/{name}.png" for name in ("0", "twin", "3", "4", "5")}
    assert told(run(folder))["known"] == 6
    assert told(run(folder, "--background"))["imported"] == 1


def test_classes_that_are_no_labels_are_refused_before_anything_is_stored(desk: Line, folder: Path) -> None:
    refused = CliRunner().invoke(app, ["import", str(folder)])
    assert isinstance(refused.exception, InputError)
    assert "'gap', 'dust'" in refused.exception.message
    assert not any(content(desk).values())


def test_a_killed_import_is_simply_run_again(desk: Line, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def killed(*given: Any, **more: Any) -> bool:
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*given, **more)

    real = bring.mirror_imported
    with monkeypatch.context() as patch:
        patch.setattr(bring, "mirror_imported", killed)
        run(folder)
    assert len(content(desk)["labels"]) == len(content(desk)["captures"]) == 3
    again = told(run(folder))
    assert (again["imported"], again["known"]) == (5, 3)
    assert len(content(desk)["labels"]) == len(content(desk)["captures"]) == IMAGES
