"""Weights of every task, brought for a tag of their own: what is served finds what ultralytics finds, under our labels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import DEFAULT_TAG, Decision, ModelVersion, Project
from labelwheel.errors import ConflictError, InputError
from labelwheel.serving import load, newest_deployment
from labelwheel.settings import Settings
from labelwheel.vision.label_config import CHAMPION, Slot
from retrain.policy import conditions
from retrain.run.trigger import by_hand
from retrain.training.torchvision import ensure_torchvision
from tests.integration.retrain.test_adopt import command, project, serving
from tests.integration.vision.test_tasks import COMPARE, made
from tests.integration.vision.test_ultralytics import FLOOR, OFFLINE, SIDE, SIZES, picture
from tests.unit.vision.test_detector import METADATA, write_model

__all__ = ["project"]

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="open"/><Label value="short"/></RectangleLabels>
<RectangleLabels name="turned" toName="image" model="other"><Label value="ring"/></RectangleLabels>
<PolygonLabels name="outline" toName="image" model="other"><Label value="ring"/></PolygonLabels>
<KeyPointLabels name="points" toName="image" model="other"><Label value="0" predicted_values="ring"/></KeyPointLabels>
<Choices name="grade" toName="image" model="other@candidate"><Choice value="ring"/></Choices></View>"""
ARCHITECTURES = {
    "obb": "yolov8n-obb.yaml", "segment": "yolov8n-seg.yaml", "pose": "yolov8n-pose.yaml", "classify": "yolov8n-cls.yaml",
    "obb of two heads": "yolo26n-obb.yaml",
}  # fmt: skip


@pytest.fixture
def tagged(database: Database, project: Project) -> Project:
    with database.write() as session:
        session.get_one(Project, project.id).label_config = CONFIG
    return project


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ultralytics in this process: offline, in its own folder."""
    for key, value in {**OFFLINE, "YOLO_CONFIG_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(key, os.environ.get(key, value))
    monkeypatch.chdir(tmp_path)
    ensure_torchvision()


def weights(folder: Path, architecture: str) -> Path:
    """Weights that say which size they were trained on, as a training writes them."""
    import torch

    path = made(folder, architecture)
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["train_args"] = {**(checkpoint.get("train_args") or {}), "imgsz": SIDE}
    torch.save(checkpoint, path)
    return path


def listed(version: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = json.loads(command("list", "--json").stdout)
    return next(row for row in rows if row["version"] == version)


@pytest.fixture
def _two_threads(tagged: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of two boxes that overlap by just what the suppression allows the last bit of a sum decides, and the number of threads decides that.

    Other tests leave torch with one thread or with two.
    """
    import torch
    from ultralytics.utils import torch_utils

    before = torch.get_num_threads()
    monkeypatch.setattr(torch_utils, "NUM_THREADS", 2)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_weights_of_every_task_serve_a_tag_that_names_them(
    database: Database, settings: Settings, tagged: Project, tmp_path: Path, architecture: str
) -> None:
    path = weights(tmp_path, architecture)
    done = command("import", path, "--trust", "--name", "other", "--map", "disc=ring")
    assert done.exit_code == 0, (done.output, done.exception)
    with database.read() as session:
        row = newest_deployment(session, tagged.id, Slot("other"))
        agreement = session.scalars(select(Decision.inputs).where(Decision.kind == "import")).one()["agreement"]
        assert newest_deployment(session, tagged.id) is None, "the champion's place is another one"
    assert row is not None
    assert "on 4 images" in agreement
    assert (listed("other@1")["role"], listed("other@1")["task"]) == ("other@champion", row.model_version.task)

    from ultralytics import YOLO

    yolo, detector, random = YOLO(path), load(row, settings).detector, np.random.default_rng(7)
    assert (detector.labels, detector.info.task) == (("ring", "square"), yolo.task)
    detector.floor, total = FLOOR, 0
    for width, height in SIZES[:3]:
        image = picture(random, width, height)
        [result] = yolo.predict(image, imgsz=SIDE, conf=FLOOR, iou=0.7, max_det=300, verbose=False, rect=True, **only_many(yolo))
        total += COMPARE[yolo.task](result, detector.detect(image).detections, ("square", "ring"))
    assert total > 5


def only_many(yolo: Any) -> dict[str, Any]:
    """Of two heads the exporter takes the one whose boxes are still to be selected."""
    return {"end2end": False} if getattr(yolo.model, "end2end", False) else {}


def classifier(folder: Path) -> Path:
    shares = np.array([0.3, 0.7], np.float32)
    return write_model(folder / "cls.onnx", shares, {**METADATA, "task": "classify", "names": "{0: 'Ring', 1: 'blot'}"}, embedding=False)


def test_a_version_may_serve_under_several_aliases(database: Database, tagged: Project, tmp_path: Path) -> None:
    assert command("import", classifier(tmp_path), "--name", "other", "--alias", "candidate").exit_code == 0
    assert listed("other@1")["role"] == "other@candidate"
    assert command("deploy", "other@1", "--note", "Good enough.").exit_code == 0
    assert listed("other@1")["role"] == "other@candidate, other@champion"
    with database.read() as session:
        assert session.scalars(select(ModelVersion)).one().labels == ["ring", "blot"]
    assert isinstance(command("deploy", "1", "--note", "Which?").exception, Exception)
    for name in ("../x", "a b", "x" * 65, DEFAULT_TAG):
        assert isinstance(command("import", classifier(tmp_path), "--name", name).exception, InputError)
    assert isinstance(command("deploy", "other@1", "--note", "x", "--alias", "x" * 21).exception, InputError)


def test_a_champion_of_another_task_pre_annotates_and_is_not_retrained(
    database: Database, settings: Settings, tagged: Project, tmp_path: Path
) -> None:
    assert command("import", classifier(tmp_path)).exit_code == 0
    row = serving(database, tagged)
    assert (row.tag, row.role, row.model_version.task) == ("label", CHAMPION.alias, "classify")
    with database.read() as session:
        said = conditions(session, session.get_one(Project, tagged.id), settings)
    assert not said["should_retrain"]
    assert [reason["text"] for reason in said["reasons"] if reason["code"] == "task"] == [
        "The champion's task is classify: it pre-annotates, and the wheel trains on rectangles alone."
    ]
    with pytest.raises(ConflictError, match="classify"):
        by_hand(database, settings, tagged.id)
