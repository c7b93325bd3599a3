"""The detector against ultralytics' own predict, untouched, on the same images in the same run: medians of interleaved rounds."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwheel.vision.detector import Detector
from tests.fixtures import figures

ROUNDS, IMAGES, SIDE = 5, 16, 320
OFFLINE = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Detector]]:
    """One network with random weights, as ultralytics runs it and as we serve it."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**OFFLINE, "YOLO_CONFIG_DIR": str(folder)}.items():
            patch.setenv(key, os.environ.get(key, value))
        patch.chdir(folder)
        from retrain.training.torchvision import ensure_torchvision

        ensure_torchvision()
        from ultralytics import YOLO

        YOLO("yolov8n.yaml", task="detect").save(folder / "model.pt")
        yolo = YOLO(folder / "model.pt")
        onnx = yolo.export(format="onnx", imgsz=SIDE, simplify=False)
        yield yolo, Detector(Path(onnx))


def test_detector_against_predict_one_image_at_a_time(models: tuple[Any, Detector]) -> None:
    yolo, detector = models
    rng = np.random.default_rng()
    images = [rng.integers(0, 255, (480, 640, 3), dtype=np.uint8) for _ in range(IMAGES)]
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        ours.append(_seconds(lambda image: detector.detect(image), images))
        theirs.append(_seconds(lambda image: yolo.predict(image, imgsz=SIDE, verbose=False), images))
    ratio = statistics.median(theirs) / statistics.median(ours)
    per_image = {"ours": statistics.median(ours) / IMAGES, "ultralytics": statistics.median(theirs) / IMAGES}
    figures.write("bench/detector.json", {"side": SIDE, "images": IMAGES, "rounds": ROUNDS, "seconds_per_image": per_image, "ratio": ratio})


def _seconds(act: Callable[[Any], object], images: list[Any]) -> float:
    start = time.perf_counter()
    for image in images:
        act(image)
    return time.perf_counter() - start
