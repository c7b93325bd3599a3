"""An image that is erased is gone from everywhere, stays away, and can be let in again; killed in between, it goes on."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from console.erase import erase, held_lines, lines, preview
from labelwheel.database.tables import (
    AnnotationRevision,
    Capture,
    ClassMap,
    Dataset,
    Decision,
    Image,
    Label,
    LsTask,
    ModelVersion,
    Prediction,
    QueueItem,
    TrainingRun,
    utcnow,
)
from labelwheel.errors import AlreadyRunning, InputError, LabelStudioUnreachable, NotFoundError
from labelwheel.labelstudio.client import LabelStudio
from labelwheel.labelstudio.twin_server import TwinServer
from labelwheel.lease import hold
from retrain.dataset import content, version, yolo
from sync.doubts.unseen import seen_images
from sync.review.erase import allow, find_image
from sync.review.rebuild import rebuild
from sync.review.used import used_image
from sync.selection.budget import FIRST_BATCH, SELECTION
from sync.selection.replay import _unpack, holds, replay
from sync.selection.select import _store, look_out
from tests.fixtures.line import Line
from tests.fixtures.plant import USERS, Plant
from tests.fixtures.tasks import Tray, annotation, drawn
from tests.fixtures.trouble import LOST_AFTER, Trouble, Troubled

NOBODY = LabelStudio("http://127.0.0.1:9", "no-token", timeout=1)


@pytest.fixture
def tray(line: Line) -> Tray:
    """Two images that were looked at and labelled."""
    line.deploy(0.9)
    tray = Tray(line)
    keys = tray.push(2)
    tray.see(*(tray.task(key, annotation(number, drawn(10 * number))) for number, key in enumerate(keys, 1)))
    return tray


def _trained(line: Line) -> None:
    """A dataset of both, its run and its model, and a model that was started from that one."""
    root = line.settings.home / "datasets"
    with line.database.write() as session:
        session.execute(update(Capture).values(split="train"))
    with line.database.read() as session:
        classes = session.scalars(select(ClassMap)).one()
        chosen = content.plan(session, line.project.id, classes, replay=None, seed=1)
    yolo.write(chosen, line.store, root / chosen.content_hash)
    hashed = version.keep(root, chosen.content_hash, line.settings.dvc_remote)
    with line.database.write() as session:
        stored = content.remember(session, line.project.id, classes, chosen, f"datasets/{chosen.content_hash}", hashed)
        parent = None
        for number, warm in ((2, False), (3, True)):
            trained = {"metrics": {"training": {"warm": warm}}, "dataset_id": None if warm else stored.id}
            parent = _made(session, line, number, champion_id=parent, **trained)


def _made(session: Session, line: Line, number: int, **trained: Any) -> int:
    """A model of a run, promoted; its id."""
    run = TrainingRun(project_id=line.project.id, status="promoted", cause="manual", **trained)
    session.add(run)
    session.flush()
    model = ModelVersion(
        project_id=line.project.id, name="labelwheel", version=number, onnx_uri="m", onnx_sha256="0" * 64, weights_uri="w",
        class_map_id=session.scalars(select(ClassMap.id)).one(), training_run_id=run.id,
    )  # fmt: skip
    session.add(model)
    session.flush()
    run.challenger_id = model.id
    return model.id


def _run(line: Line, number: int, start: int | None, champion: int | None) -> int:
    """A model of a run that went on from `start`, and was judged against the champion; it trained on nothing that we know."""
    metrics = {"training": {"warm": start is not None}, "start": {"model_version": start} if start else {}}
    with line.database.write() as session:
        return _made(session, line, number, metrics=metrics, champion_id=champion)


def test_what_has_seen_an_image_follows_the_weights_and_not_the_champion(tray: Tray) -> None:
    line = tray.line
    _trained(line)
    with line.database.read() as session:
        second = session.scalars(select(ModelVersion.id).where(ModelVersion.version == 2)).one()
    fourth = _run(line, 4, None, second)
    fifth, sixth = _run(line, 5, second, fourth), _run(line, 6, fourth, second)
    with line.database.read() as session:
        image = find_image(session, line.project.id, "c-1").id
        used = used_image(session, line.project.id, image)
        assert (used.models, used.descendants) == (["labelwheel@2"], ["labelwheel@3", "labelwheel@5"])
        assert [image in seen_images(session, model) for model in (second, fourth, fifth, sixth)] == [True, False, True, False]


def holding(folder: Path, needle: bytes) -> list[Path]:
    """Files below a folder that hold these bytes."""
    return [path for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def rows(line: Line) -> dict[str, Any]:
    with line.database.read() as session:
        image = find_image(session, line.project.id, "c-1")
        capture = session.scalars(select(Capture).where(Capture.image_id == image.id)).one()
        label = session.scalars(select(Label).where(Label.image_id == image.id)).one()
        body = session.get_one(AnnotationRevision, label.annotation_revision_id).body
        predictions = session.scalar(select(func.count()).select_from(Prediction).where(Prediction.image_id == image.id))
        status = session.scalars(select(QueueItem.status).where(QueueItem.image_id == image.id)).one()
    withdrawn, kept = label.withdrawn_at is not None, capture.descriptor
    return {
        "features": capture.features,
        "descriptor": kept,
        "boxes": label.boxes,
        "withdrawn": withdrawn,
        "body": body,
        "status": status,
    } | {"predictions": predictions}


def test_an_erased_image_is_gone_and_what_was_made_with_it_is_named(tray: Tray) -> None:
    line = tray.line
    _trained(line)
    with line.database.read() as session:
        image = find_image(session, line.project.id, "c-1")
        other = find_image(session, line.project.id, "c-2")
        kept = session.scalars(select(Dataset.content_hash)).one()
    data = line.store.read(image.uri)
    assert len(holding(line.settings.home, data)) >= 3, "store, dataset, DVC's cache"
    before = preview(line.settings, "c-1")
    assert (before.used.datasets, before.stored, before.copied, len(before.tasks), before.others_tasks) == ([kept], True, False, 1, [])
    assert asdict(before.held) | {"tasks": 0} == {
        "captures": 1, "queue_items": 1, "predictions": 1, "annotations": 1, "labels": 1, "tasks": 0,
    }  # fmt: skip
    told = " ".join(held_lines(before))
    assert "its file" in told and "annotations 1, labels 1" in told and f"tasks {before.tasks[0]}, with their annotations" in told
    assert rows(line)["predictions"] == 1

    done = erase(line.settings, NOBODY, image.sha256[:10], "boss", "somebody is on it")
    assert (done.stored, done.used.models, done.used.descendants, done.purged["datasets"]) == (
        True, ["labelwheel@2"], ["labelwheel@3"], [kept],
    )  # fmt: skip
    assert "still in Label Studio" in done.error
    assert any("Run this again" in line for line in lines(done))
    assert holding(line.settings.home, data) == []
    assert list(line.settings.home.rglob(f"{image.sha256}*")) == []
    assert rows(line) == {
        "features": {}, "descriptor": None, "boxes": [], "withdrawn": True, "body": {"result": []}, "status": "expired", "predictions": 0,
    }  # fmt: skip
    assert rebuild(line.database, line.project.id, tray.reading, check=True).differing == []
    restored = version.restore(line.settings.home / "datasets", kept, line.settings.dvc_remote)
    assert {path.stem for path in restored.glob("images/*/*")} == {other.sha256}

    again = erase(line.settings, NOBODY, image.sha256, "boss", "again")
    assert (again.stored, again.purged["files"], again.purged["cached"]) == (False, 0, 0)
    with line.database.read() as session:
        plan = content.recall(session, session.scalars(select(Dataset.id)).one())
    assert [item.sha256 for item in plan.items] == [other.sha256]


def test_what_was_erased_is_refused_until_it_is_let_in(tray: Tray) -> None:
    line = tray.line
    with line.database.read() as session:
        image = find_image(session, line.project.id, "c-1")
    erase(line.settings, NOBODY, "c-1", "boss", "why")
    for external_id in ("c-1", "another"):
        refused = line.inspect(1, external_id)
        assert (refused.status_code, refused.json["error"]["code"]) == (410, "erased")  # type: ignore[index]
    assert not line.store.root.joinpath(image.uri).exists()
    assert tray.see(tray.task(f"{image.sha256[:32]}-r1", annotation(1, drawn(10)))).seen == [], "should its task still be there"
    allow(line.database, image)
    assert line.inspect(1, "another").status_code == 201
    assert line.store.read(image.uri)


def test_nothing_is_erased_under_a_training(tray: Tray) -> None:
    with tray.line.database.write() as session:
        session.add(TrainingRun(project_id=tray.line.project.id, status="training", cause="manual"))
    with pytest.raises(AlreadyRunning):
        erase(tray.line.settings, NOBODY, "c-1", "boss", "why")
    with tray.line.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Image).where(Image.erased_at.is_not(None))) == 0


def test_a_control_is_not_erased_under_and_its_copy_goes(tray: Tray) -> None:
    line = tray.line
    _trained(line)
    with line.database.write() as session:
        image = find_image(session, line.project.id, "c-1")
        run = session.scalars(select(TrainingRun).order_by(TrainingRun.id)).first()
        assert run is not None
        run.control = {"state": "due", "attempts": 1}
    folder = line.settings.home / "runs" / str(run.id)
    copy = folder / "control" / "dataset" / "images" / "train" / f"{image.sha256}.png"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(line.store.read(image.uri))
    with FileLock(folder / "control.lock"), pytest.raises(AlreadyRunning, match="control"):
        erase(line.settings, NOBODY, "c-1", "boss", "why")
    assert line.store.read(image.uri) == copy.read_bytes()
    erase(line.settings, NOBODY, "c-1", "boss", "why")
    assert list(line.settings.home.rglob(f"{image.sha256}*")) == []
    with FileLock(folder / "control.lock", timeout=0), line.database.read() as session:
        assert session.get_one(TrainingRun, run.id).control == {"state": "due", "attempts": 1}, "it begins anew"


def _hold(line: Line, image_id: int) -> list[bool]:
    """Of each selection, whether it holds the image."""
    with line.database.read() as session:
        decisions = list(session.scalars(select(Decision).where(Decision.kind.in_((SELECTION, FIRST_BATCH))).order_by(Decision.id)))
    for decision in decisions:
        if decision.inputs.get("erased"):
            with pytest.raises(NotFoundError, match="erased"):
                replay(decision)
        else:
            assert replay(decision).choices
    return [holds(decision.inputs, (image_id,)) for decision in decisions]


def test_selections_keep_nothing_of_an_erased_image(either_line: Line) -> None:
    line = either_line
    plant = Plant(line, TwinServer(USERS))
    line.deploy(0.4)
    first, *_ = plant.pushed(1, 2)
    image_id = plant.image(first)
    plant.pushed(3)
    assert _hold(line, image_id)[0]
    late = look_out(line.database, line.settings, utcnow(), let_look=True) if line.inspect(4) else None
    with line.database.read() as session:
        image = session.get_one(Image, image_id)
    erase(line.settings, plant.client, image.sha256, "boss", "why")
    assert not any(_hold(line, image_id))
    with line.database.read() as session:
        stored = [row.inputs for row in session.scalars(select(Decision))]
    erase(line.settings, plant.client, image.sha256, "boss", "again")
    with line.database.read() as session:
        assert [row.inputs for row in session.scalars(select(Decision))] == stored
        kept = [len(_unpack(inputs["candidates"])) for inputs in stored if "candidates" in inputs]
    assert kept[0] == 1, "the other stays"

    assert late is not None and late.selection.choices, "a selection that had read the pool before"
    seen = dataclasses.replace(late.candidates[0], image_id=image_id)
    _store(line.database, line.project.id, dataclasses.replace(late, candidates=[*late.candidates, seen]))
    assert len(_hold(line, image_id)) == len(kept) + 1 and not any(_hold(line, image_id))


def test_a_name_must_mean_one_image(tray: Tray) -> None:
    line = tray.line
    with line.database.read() as session, pytest.raises(NotFoundError):
        find_image(session, line.project.id, "ab")
    with line.database.write() as session:
        session.execute(update(Image).where(Image.id == 1).values(sha256="a" * 64))
        session.execute(update(Image).where(Image.id == 2).values(sha256="a" * 63 + "b"))
    with line.database.read() as session:
        with pytest.raises(InputError, match="Several"):
            find_image(session, line.project.id, "a" * 8)
        assert find_image(session, line.project.id, "A" * 64).id == 1


def test_what_other_images_use_too_stays_in_the_remote_and_the_cache(tmp_path: Path) -> None:
    from retrain.dataset.purge import purge

    root, remote, sha256, other = tmp_path / "datasets", str(tmp_path / "remote"), "a" * 64, "b" * 64
    for name in ("one", "two"):
        for folder, text in (("images", "picture of {}"), ("labels", "")):
            (root / name / folder / "train").mkdir(parents=True)
            for stem in (sha256, other):
                (root / name / folder / "train" / f"{stem}.txt").write_text(text.format(stem))
        (root / name / "manifest.json").write_text(json.dumps(name))
        version.keep(root, name, remote)
    version.drop(root, "two")
    done = purge(root, sha256, remote)
    assert (done.datasets, done.files, done.cached, done.remote) == (["one", "two"], 2, 1, 1)
    assert holding(tmp_path, f"picture of {sha256}".encode()) == []
    for lost in (root / ".dvc/cache/files").rglob("*"):
        if lost.is_file():
            lost.unlink()
    restored = version.restore(root, "two", remote)
    assert sorted(path.stem for path in restored.glob("images/*/*")) == [other]
    assert (restored / f"labels/train/{other}.txt").read_text() == ""


def test_its_tasks_go_of_every_round_and_twin_but_not_those_that_others_made(line: Line) -> None:
    plant = Plant(line, TwinServer(USERS))
    first, other = plant.pushed(1, 2)
    plant.server.annotate(first, [drawn(10)])
    plant.pull()
    data = plant.server.rows.tasks[first]["data"]
    plant.server.import_tasks(line.project.ls_project_id, [{"data": data}])
    with line.database.read() as session:
        image, second = (session.get_one(Image, plant.image(task)) for task in (first, other))
    done = erase(line.settings, plant.client, image.sha256, "boss", "why")
    assert (len(done.tasks), done.error, list(plant.server.rows.tasks)) == (2, "", [other])
    plant.pull(thorough=True)
    assert (plant.in_force(), plant.statuses()[image.id]) == ({}, "expired")
    plant.mended()

    with line.database.write() as session:
        session.execute(update(LsTask).values(adopted=True))
    kept = erase(line.settings, plant.client, second.sha256, "boss", "why")
    assert (kept.tasks, kept.others_tasks, list(plant.server.rows.tasks)) == ([], [other], [other])
    plant.server.annotate(other, [drawn(20)])
    plant.pull()
    assert plant.in_force() == {}, "nothing of it comes back"


def test_a_task_whose_answer_was_lost_goes_too_and_none_is_erased_under_a_push(line: Line) -> None:
    plant = Plant(line, TwinServer(USERS))
    trouble = Trouble(faults=deque([LOST_AFTER]))
    client, plant.client = plant.client, Troubled(plant.client, trouble)
    with pytest.raises(LabelStudioUnreachable):
        plant.pushed(1)
    plant.client = client
    (task,) = plant.server.rows.tasks
    with hold(line.database, f"push:{plant.line.project.id}"):
        done = erase(line.settings, client, "c-1", "boss", "why")
    assert (done.tasks, done.error) == ([], "Its tasks are still in Label Studio. A push or a refresh is under way.")
    assert erase(line.settings, client, "c-1", "boss", "why").tasks == [task]
    assert plant.push() == 0
    assert plant.server.rows.tasks == {}
