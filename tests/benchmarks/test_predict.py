"""`/predict` of a real server against a bare loop without one, and against ultralytics' own `predict`: medians of interleaved rounds.

The network has random weights: it computes as much as a trained one and finds next to nothing, so post-processing is not what is measured.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import requests
from sqlalchemy import delete

from labelwheel.database import get_database, migrate
from labelwheel.database.tables import ClassMap, Deployment, Image, ModelVersion, Prediction, Project
from labelwheel.image_url import image_url
from labelwheel.project import remember_project
from labelwheel.settings import PREFIX, Settings
from labelwheel.storage import ImageStore
from labelwheel.vision import image as vision
from labelwheel.vision.detector import Detector
from tests.fixtures import figures
from tests.fixtures.label_studio import LABEL_CONFIG, free_port
from tests.fixtures.line import BASIC_PASSWORD, LABELS, line_settings

ROUNDS, BATCH, SIDE = 5, 64, 640
IMAGES = int(os.environ.get("BENCH_IMAGES", "512"))
OFFLINE = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def yolo(home: Path) -> Iterator[Any]:
    """yolov8n as ultralytics runs it, and beside it `model.onnx` as we serve it."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**OFFLINE, "YOLO_CONFIG_DIR": str(home)}.items():
            patch.setenv(key, os.environ.get(key, value))
        patch.chdir(home)
        from retrain.torchvision import ensure_torchvision

        ensure_torchvision()
        from ultralytics import YOLO
        from ultralytics.nn.tasks import DetectionModel

        network = YOLO("yolov8n.yaml", task="detect", verbose=False)
        network.model = DetectionModel("yolov8n.yaml", nc=len(LABELS), verbose=False).eval()
        network.model.names = dict(enumerate(LABELS))
        network.save(home / "model.pt")
        made = YOLO(home / "model.pt")
        made.export(format="onnx", imgsz=SIDE, dynamic=True, simplify=False, verbose=False)
        yield YOLO(home / "model.pt")


@pytest.fixture(scope="module")
def settings(home: Path, yolo: Any) -> Settings:
    """A connected project whose champion is that network; `yolo` made its file."""
    found = line_settings(home, ml_backend_port=free_port(), detector_threads=0)
    migrate(found.database_url)
    with get_database(found.database_url).write() as session:
        project = remember_project(session, found.label_studio_name, 7, found.label_studio_project, LABEL_CONFIG, LABELS)
        session.flush()
        _deploy(session, project)
    return found


def _deploy(session: Any, project: Project) -> None:
    class_map = session.query(ClassMap).filter_by(project_id=project.id).one()
    model = ModelVersion(
        project_id=project.id, name="labelwheel", version=1, onnx_uri="model.onnx", onnx_sha256="0" * 64, weights_uri="model.pt",
        class_map_id=class_map.id,
    )  # fmt: skip
    session.add(model)
    session.flush()
    session.add(Deployment(project_id=project.id, tag="label", model_version_id=model.id, served_as="labelwheel@1"))


@pytest.fixture(scope="module")
def pictures(settings: Settings) -> list[Path]:
    """Stored images of 640 × 480 that differ, and their files."""
    store, rng, rows, paths = ImageStore(settings.images_dir), np.random.default_rng(), [], []
    for _ in range(IMAGES):
        blocks = cv2.resize(rng.integers(0, 255, (30, 40, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
        data = cv2.imencode(".jpg", blocks)[1].tobytes()
        sha256 = vision.digest(data)
        uri = store.put(data, sha256, ".jpg")
        rows.append(Image(project_id=1, sha256=sha256, width=640, height=480, size=len(data), uri=uri))
        paths.append(store.path(uri))
    with get_database(settings.database_url).write() as session:
        session.add_all(rows)
    return paths


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[psutil.Process]:
    """ml_backend as `up` starts it; the process that holds the model."""
    given = {
        PREFIX + "HOME": str(settings.home), PREFIX + "ML_BACKEND_PORT": str(settings.ml_backend_port),
        PREFIX + "ML_BACKEND_PASSWORD": BASIC_PASSWORD, PREFIX + "SECRET_KEY": settings.secret_key.get_secret_value(),
        PREFIX + "LABEL_STUDIO_URL": settings.label_studio_url,
    }  # fmt: skip
    argv = [sys.executable, "-m", "console", "serve", "ml-backend"]
    process = subprocess.Popen(argv, env={**os.environ, **given}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not _is_up(settings):
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.2)
        yield max(psutil.Process(process.pid).children(), key=lambda child: child.pid)
    finally:
        process.terminate()
        process.wait(20)


def test_predict_end_to_end(settings: Settings, pictures: list[Path], server: psutil.Process, yolo: Any) -> None:
    detector = Detector(settings.home / "model.onnx")
    urls = [image_url(str(path.relative_to(settings.images_dir)), settings) for path in pictures]
    acts: dict[str, Callable[[], object]] = {
        "server": lambda: _by_server(settings, urls),
        "bare": lambda: [detector.detect(vision.decode(path.read_bytes(), max_bytes=2**25, max_pixels=2**26)) for path in pictures],
        "ultralytics": lambda: [yolo.predict(str(path), verbose=False) for path in pictures],
    }
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(ROUNDS):
        for name, act in acts.items():
            start = time.perf_counter()
            act()
            seconds[name].append(time.perf_counter() - start)
        with get_database(settings.database_url).write() as session:
            session.execute(delete(Prediction))  # the next round computes again
    median = {name: statistics.median(values) / IMAGES for name, values in seconds.items()}
    found = {
        "images": IMAGES, "rounds": ROUNDS, "cores": os.cpu_count(), "seconds_per_image": median,
        "of_bare_loop": median["bare"] / median["server"], "times_ultralytics": median["ultralytics"] / median["server"],
        "resident_mb": server.memory_info().rss / 2**20, "reopened_ms": _reopened(settings, urls),
    }  # fmt: skip
    figures.write("bench/predict.json", found)


def _by_server(settings: Settings, urls: list[str]) -> None:
    for start in range(0, len(urls), BATCH):
        results = _ask(settings, urls[start : start + BATCH])
        assert all(len(entry) == 1 for entry in results), "a task was not answered"


def _reopened(settings: Settings, urls: list[str]) -> dict[str, float]:
    """Milliseconds of a task whose prediction is stored, asked for alone as at every opening."""
    _by_server(settings, urls)
    took = []
    for url in urls[:200]:
        start = time.perf_counter()
        _ask(settings, [url])
        took.append((time.perf_counter() - start) * 1000)
    return {"p50": statistics.median(took), "p95": statistics.quantiles(took, n=20)[-1]}


def _ask(settings: Settings, urls: list[str]) -> list[list[dict[str, Any]]]:
    body = {"tasks": [{"id": n, "data": {"image": url}} for n, url in enumerate(urls)], "project": "7.1", "label_config": LABEL_CONFIG}
    login = (settings.ml_backend_user, BASIC_PASSWORD)
    answer = requests.post(f"http://127.0.0.1:{settings.ml_backend_port}/predict", json=body, auth=login, timeout=600)
    answer.raise_for_status()
    found: list[list[dict[str, Any]]] = answer.json()["results"]
    return found


def _is_up(settings: Settings) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{settings.ml_backend_port}/health", timeout=2).ok
    except requests.ConnectionError:
        return False
