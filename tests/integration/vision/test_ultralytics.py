"""The detector against ultralytics itself: its exporter, its letterbox, its torch network, its NMS, its scaling back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from labelwheel.vision.detector import Detector
from labelwheel.vision.geometry import iou_matrix

FLOOR = 0.05
SIDE = 96
SIZES = [(96, 96), (128, 96), (96, 128), (333, 211), (301, 149), (50, 41)]  # (width, height)
OFFLINE = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A YOLO with random weights that is sure of many things: overlapping candidates of both classes, at all confidences."""
    folder = tmp_path_factory.mktemp("yolo")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**OFFLINE, "YOLO_CONFIG_DIR": str(folder)}.items():
            patch.setenv(key, os.environ.get(key, value))
        patch.chdir(folder)
        import torch
        from ultralytics import YOLO
        from ultralytics.nn.tasks import DetectionModel

        torch.manual_seed(3)
        model = DetectionModel("yolov8n.yaml", nc=2, verbose=False)
        model.names = {0: "square", 1: "disc"}
        for branch in model.model[-1].cv3:
            torch.nn.init.normal_(branch[-1].weight, std=0.15)
            torch.nn.init.constant_(branch[-1].bias, -2.0)
        spread_activations(model)
        yolo = YOLO("yolov8n.yaml", task="detect", verbose=False)
        yolo.model = model.eval()
        yolo.save(folder / "model.pt")  # rounds the weights to half: what is compared is what was saved
        yield YOLO(folder / "model.pt")


def spread_activations(model: Any) -> None:
    """Set the batch norms by what they see: with the initial ones every anchor answers the same, and ties decide everything."""
    import torch
    from ultralytics.data.augment import LetterBox

    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    letterbox = LetterBox((SIDE, SIDE))
    images = np.stack([letterbox(image=picture(np.random.default_rng(seed), *size)) for seed, size in enumerate(SIZES * 2)])
    with torch.no_grad():
        model.train()(torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 255)


def picture(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Soft coloured blots, (H, W, 3)."""
    return cv2.resize(random.integers(0, 256, (9, 11, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def exported(network: Any, folder: Path, *, dynamic: bool) -> Detector:
    path = Path(network.export(format="onnx", imgsz=SIDE, dynamic=dynamic, simplify=False, verbose=False))
    return Detector(path.rename(folder / "model.onnx"), threads=2, floor=FLOOR)


def by_ultralytics(network: Any, image: np.ndarray, *, rectangular: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes as x1, y1, x2, y2, confidences, class ids: the steps of its predictor, one by one."""
    import torch
    from ultralytics.data.augment import LetterBox
    from ultralytics.utils.nms import non_max_suppression
    from ultralytics.utils.ops import scale_boxes

    padded = LetterBox((SIDE, SIDE), auto=rectangular, stride=32)(image=image)
    tensor = torch.from_numpy(np.ascontiguousarray(padded[..., ::-1].transpose(2, 0, 1))[None]).float() / 255
    with torch.no_grad():
        [rows] = non_max_suppression(network.model(tensor), FLOOR, 0.7, max_det=300)
    return scale_boxes(tensor.shape[2:], rows[:, :4], image.shape).numpy(), rows[:, 4].numpy(), rows[:, 5].numpy()


@pytest.mark.parametrize("dynamic", [False, True], ids=["square", "rectangular"])
def test_boxes_and_confidences_equal_those_of_ultralytics(network: Any, tmp_path: Path, dynamic: bool) -> None:
    detector = exported(network, tmp_path, dynamic=dynamic)
    random = np.random.default_rng(4)
    assert detector.labels == ("square", "disc")
    assert detector.info.rectangular is dynamic

    total = 0
    for width, height in SIZES:
        image = picture(random, width, height)
        boxes, confidences, classes = by_ultralytics(network, image, rectangular=dynamic)
        found = detector.detect(image).detections
        valid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        ours = np.array([detection.box.as_tuple() for detection in found]).reshape(-1, 4)
        same_class = np.array([detector.labels.index(detection.label) for detection in found])[None] == classes[valid, None]
        overlap = iou_matrix(boxes[valid], ours) * same_class

        assert len(found) == valid.sum()
        assert (overlap.max(axis=1) > 0.999).all()
        assert np.sort([detection.confidence for detection in found]) == pytest.approx(np.sort(confidences[valid]), abs=1e-4)
        total += len(found)
    assert total > 100
