"""What the benchmarks of serving share: a network trained on scenes, a project whose champion it is, images, and the real server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import requests
from sqlalchemy import delete, select

from labelwheel.database import Database, get_database, migrate
from labelwheel.database.tables import ClassMap, Deployment, Image, ModelVersion, Prediction
from labelwheel.image_url import image_url
from labelwheel.project import remember_project
from labelwheel.settings import PREFIX, Settings
from labelwheel.storage import ImageStore
from labelwheel.vision import image as vision
from retrain.training.launch import launch
from retrain.training.spec import Spec
from retrain.training.torchvision import ensure_torchvision
from tests.fixtures.console_app import app, database, filled, project, settings
from tests.fixtures.label_studio import LABEL_CONFIG, free_port
from tests.fixtures.line import BASIC_PASSWORD, LABELS, line_settings

__all__ = ["app", "database", "filled", "project", "settings"]

IMAGES = int(os.environ.get("BENCH_IMAGES", "512"))
SIDE = 640  # of the square that images are fitted into
TRAINED_ON, UPDATES = 160, int(os.environ.get("BENCH_UPDATES", "300"))
QUIET = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.fixture(scope="session")
def seed() -> int:
    found = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"\nseed {found}")
    return found


@dataclass(frozen=True)
class Trained:
    """Weights as ultralytics runs them, and the ONNX file as our trainer exported it."""

    yolo: Any
    onnx: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Iterator[Trained]:
    """A yolov8n by our trainer, of objects as large in pixels as in the images that it is asked about."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**QUIET, "YOLO_CONFIG_DIR": str(folder)}.items():
            patch.setenv(key, os.environ.get(key, value))
        patch.chdir(folder)
        data = _write_scenes(folder, seed)
        spec = Spec(str(folder / "run"), str(data), "yolov8n.yaml", TRAINED_ON, UPDATES, 8, 320, 1e-3, seed, os.cpu_count() or 1, 0)
        (folder / "run").mkdir()
        made = launch(spec, lambda _: True)
        yield _for_large_images(Path(made.weights))


def _for_large_images(weights: Path) -> Trained:
    """Learning from quarters of the images is four times as fast; it is the export that says how large they are when it serves."""
    ensure_torchvision()
    import torch
    from ultralytics import YOLO

    from retrain.training.export import export_onnx

    checkpoint = torch.load(weights, weights_only=False)
    checkpoint["train_args"]["imgsz"] = SIDE
    torch.save(checkpoint, weights)
    return Trained(YOLO(weights), export_onnx(weights))


def scene(rng: np.random.Generator, width: int, height: int) -> tuple[np.ndarray, list[tuple[int, list[int]]]]:
    """Discs and squares on noise, and each one's class and box."""
    pixels = cv2.resize(rng.integers(60, 160, (height // 8, width // 8, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    found = []
    for _ in range(int(rng.integers(1, 2 + width * height // 60_000))):
        kind, size = int(rng.integers(2)), int(rng.integers(24, 80))
        x, y = int(rng.integers(width - size)), int(rng.integers(height - size))
        colour = rng.integers(0, 255, 3).tolist()
        if kind:
            cv2.rectangle(pixels, (x, y), (x + size, y + size), colour, -1)
        else:
            cv2.circle(pixels, (x + size // 2, y + size // 2), size // 2, colour, -1)
        found.append((kind, [x, y, x + size, y + size]))
    return pixels, found


def _write_scenes(folder: Path, seed: int) -> Path:
    rng, width, height = np.random.default_rng(seed), 320, 240
    for name in ("images", "labels"):
        (folder / "data" / name / "train").mkdir(parents=True)
    for number in range(TRAINED_ON):
        pixels, objects = scene(rng, width, height)
        cv2.imwrite(str(folder / f"data/images/train/{number}.png"), pixels)
        lines = [
            f"{kind} {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} {(x2 - x1) / width} {(y2 - y1) / height}"
            for kind, (x1, y1, x2, y2) in objects
        ]
        (folder / f"data/labels/train/{number}.txt").write_text("\n".join(lines))
    names = "\n".join(f"  {number}: {label}" for number, label in enumerate(LABELS))
    data = folder / "data.yaml"
    data.write_text(f"path: {folder / 'data'}\ntrain: images/train\nval: images/train\nnames:\n{names}\n")
    return data


@dataclass
class Bench:
    """The project, the images in its store, and ml_backend as `up` starts it."""

    settings: Settings
    pictures: list[Path]
    server: psutil.Process
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def database(self) -> Database:
        return get_database(self.settings.database_url)

    @property
    def urls(self) -> list[str]:
        """Addresses of the images, as tasks have them."""
        return [image_url(str(path.relative_to(self.settings.images_dir)), self.settings) for path in self.pictures]

    def ask(self, urls: list[str], session: requests.Session | None = None) -> list[list[dict[str, Any]]]:
        """The answers of `/predict` to a batch."""
        tasks = [{"id": number, "data": {"image": url}} for number, url in enumerate(urls)]
        body = {"tasks": tasks, "project": "7.1", "label_config": LABEL_CONFIG}
        login = (self.settings.ml_backend_user, BASIC_PASSWORD)
        answer = (session or self.session).post(f"{self._address}/predict", json=body, auth=login, timeout=600)
        answer.raise_for_status()
        found: list[list[dict[str, Any]]] = answer.json()["results"]
        return found

    def forget(self) -> None:
        """Erase the stored predictions, so that the next round computes again."""
        with self.database.write() as session:
            session.execute(delete(Prediction))

    def deploy(self) -> Deployment:
        """Let one more version of the model serve."""
        with self.database.write() as session:
            return _deploy(session, len(session.scalars(select(ModelVersion)).all()) + 1)

    def is_up(self) -> bool:
        try:
            return requests.get(f"{self._address}/health", timeout=10).ok
        except requests.ConnectionError:
            return False

    @property
    def _address(self) -> str:
        return f"http://127.0.0.1:{self.settings.ml_backend_port}"


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory, trained: Trained, seed: int) -> Iterator[Bench]:
    """`IMAGES` stored images of 640 × 480 that no model has seen, and the process that holds the model."""
    home = tmp_path_factory.mktemp("served")
    settings = line_settings(home, ml_backend_port=free_port(), detector_threads=0)
    (home / "model.onnx").write_bytes(trained.onnx.read_bytes())
    migrate(settings.database_url)
    with get_database(settings.database_url).write() as session:
        remember_project(session, settings.label_studio_name, 7, settings.label_studio_project, LABEL_CONFIG, LABELS)
        session.flush()
        _deploy(session, 1)
    pictures = _store(settings, np.random.default_rng(seed + 1))
    process = subprocess.Popen(
        [sys.executable, "-m", "console", "serve", "ml-backend"],
        env={**os.environ, **_environment(settings)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield _started(settings, pictures, process)
    finally:
        process.terminate()
        process.wait(20)


def _started(settings: Settings, pictures: list[Path], process: subprocess.Popen[bytes]) -> Bench:
    made, deadline = Bench(settings, pictures, psutil.Process(process.pid)), time.monotonic() + 30
    while not made.is_up():
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.2)
    made.server = max(made.server.children(), key=lambda child: child.pid)
    return made


def _environment(settings: Settings) -> dict[str, str]:
    return {
        PREFIX + "HOME": str(settings.home),
        PREFIX + "ML_BACKEND_PORT": str(settings.ml_backend_port),
        PREFIX + "ML_BACKEND_PASSWORD": BASIC_PASSWORD,
        PREFIX + "SECRET_KEY": settings.secret_key.get_secret_value(),
        PREFIX + "LABEL_STUDIO_URL": settings.label_studio_url,
    }


def _deploy(session: Any, version: int) -> Deployment:
    class_map = session.scalars(select(ClassMap)).one()
    model = ModelVersion(
        project_id=1, name="labelwheel", version=version, onnx_uri="model.onnx", onnx_sha256="0" * 64, weights_uri="model.pt",
        class_map_id=class_map.id,
    )  # fmt: skip
    session.add(model)
    session.flush()
    row = Deployment(project_id=1, tag="label", model_version_id=model.id, served_as=f"labelwheel@{version}")
    session.add(row)
    return row


def _store(settings: Settings, rng: np.random.Generator) -> list[Path]:
    store, rows, paths = ImageStore(settings.images_dir), [], []
    for _ in range(IMAGES):
        data = cv2.imencode(".jpg", scene(rng, 640, 480)[0])[1].tobytes()
        sha256 = vision.digest(data)
        uri = store.put(data, sha256, ".jpg")
        rows.append(Image(project_id=1, sha256=sha256, width=640, height=480, size=len(data), uri=uri))
        paths.append(store.path(uri))
    with get_database(settings.database_url).write() as session:
        session.add_all(rows)
    return paths
