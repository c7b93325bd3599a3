"""A small plant on a real database: squares and discs on grey, labelled, some of them in the holdout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from sqlalchemy.orm import Session

from labelwheel import registry
from labelwheel.database import Database, get_database, migrate
from labelwheel.database.tables import AnnotationRevision, Capture, ClassMap, Image, Label, Project, utcnow
from labelwheel.settings import Settings, get_settings
from labelwheel.storage import ImageStore
from labelwheel.vision.image import digest
from retrain.run import stages
from retrain.run.work import Work
from retrain.training import spec
from tests.fixtures.shapes import LABELS, SIDE, draw
from tests.unit.vision.test_detector import METADATA, write_model

RECIPE = {
    "IMAGE_SIZE": "64",
    "BATCH_SIZE": "4",
    "FIRST_UPDATES": "200",
    "WARM_UPDATES": "8",
    "FIRST_LABELS": "20",
    "MIN_NEW_LABELS": "8",
    "COOLDOWN_SECONDS": "0",
    "LABEL_QUIET_SECONDS": "0",
    "GATE_MIN_IMAGES": "4",
    "TRAIN_CONTROL": "true",
    "TRAIN_NICE": "5",
    "LABEL_STUDIO_URL": "http://127.0.0.1:1",
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings as a worker reads them: from the environment. Redis is silent."""
    monkeypatch.chdir(tmp_path)
    values = RECIPE | {"HOME": str(tmp_path / "home"), "REDIS_URL": f"unix://{tmp_path}/silent.sock"}
    for name, value in values.items():
        monkeypatch.setenv(f"LABELWHEEL_{name}", value)
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    migrate(settings.database_url)
    database = get_database(settings.database_url)
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without a run: making one takes longer than most tests."""
    folder = tmp_path_factory.mktemp("mlflow")
    registry._make(folder / "mlflow.db", folder / "artifacts")
    return folder / "mlflow.db"


@pytest.fixture
def mlflow(settings: Settings, empty_mlflow: Path) -> None:
    """It lies where the settings say."""
    lay_mlflow(settings.home, empty_mlflow)


def lay_mlflow(home: Path, empty: Path) -> None:
    (home / "mlflow").mkdir(parents=True)
    shutil.copyfile(empty, home / "mlflow" / "mlflow.db")


@pytest.fixture
def project(database: Database, settings: Settings) -> Project:
    with database.write() as session:
        url, title = settings.label_studio_name, settings.label_studio_project
        project = Project(ls_url=url, ls_project_id=1, title=title, label_config="<View/>", salt="saltsaltsalt")
        session.add(project)
        session.flush()
        session.add(ClassMap(project_id=project.id, version=1, labels=["disc", "square"]))
    return project


@pytest.fixture
def label(database: Database, settings: Settings, project: Project) -> Callable[..., None]:
    """`label(first, count, split)`: images number `first` and on arrive and a person labels them."""

    def put(first: int, count: int, split: str) -> None:
        with database.write() as session:
            for number in range(first, first + count):
                labelled(session, ImageStore(settings.images_dir), project.id, number, split)

    return put


def labelled(session: Session, store: ImageStore, project_id: int, number: int, split: str) -> None:
    """Image `number` arrives, and a person labels it."""
    pixels, box = draw(number)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    sha256, now = digest(data), utcnow() - timedelta(hours=1)
    uri = store.put(data, sha256, ".png")
    image = Image(project_id=project_id, sha256=sha256, width=SIDE, height=SIDE, size=len(data), uri=uri)
    session.add(image)
    session.flush()
    source, arrival = f"line-{number % 3}", f"e{number}"
    session.add(
        Capture(
            project_id=project_id,
            image_id=image.id,
            source=source,
            external_id=arrival,
            captured_at=now,
            features={},
            split=split,
            audit=split == "holdout",
            propensity=0.1,
        )
    )
    revision = AnnotationRevision(
        project_id=project_id, unique_id=f"u{number}", updated_at=now, key=f"k{number}", ls_annotation_id=number, ls_task_id=number,
        annotator="anna@plant.example", was_cancelled=False, body={},
    )  # fmt: skip
    session.add(revision)
    session.flush()
    session.add(
        Label(
            project_id=project_id,
            image_id=image.id,
            annotation_revision_id=revision.id,
            boxes=[box],
            exclusions=[],
            annotator=revision.annotator,
            annotated_at=now,
            approved_at=now,
        )
    )


def as_if_trained(work: Work, images: int) -> None:
    """The run when its trainer has just ended: it left a model that finds what the first images of the holdout, 100 and 101, show."""
    stages.export(work)
    weights = work.folder / "fit" / "weights" / "last.pt"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(json.dumps("weights").encode())
    answers = [(draw(number)[1]["box"], number % 2) for number in (100, 101)]
    scale = 64 / SIDE
    columns = [
        [(x1 + x2) / 2 * scale, (y1 + y2) / 2 * scale, (x2 - x1) * scale, (y2 - y1) * scale, 0.9 * (kind == 0), 0.9 * (kind == 1)]
        for (x1, y1, x2, y2), kind in answers
    ]
    named = {**METADATA, "names": str(dict(enumerate(LABELS)))}
    onnx = write_model(weights.with_suffix(".onnx"), np.array(columns, np.float32).T, named)
    (work.folder / "fit" / "results.csv").write_text("epoch,time,train/box_loss\n1,1,2.5\n2,2,1.5\n")
    recipe = {"folder": str(work.folder), "data": "data.yaml", "start": "yolov8n.yaml", "images": images, "updates": 8, "batch_size": 4}
    spec.write(
        work.folder / spec.SPEC,
        spec.Spec(**recipe, image_size=64, learning_rate=0.001, seed=1, threads=1, nice=0),  # type: ignore[arg-type]
    )
    spec.write(work.folder / spec.RESULT, spec.Result(str(weights), str(onnx), 2, 8, 1.0, False))


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; nothing of one that has just ended, as children of other tests may have."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
