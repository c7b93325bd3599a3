"""Every task against ultralytics itself, untouched: its exporter, its predictor, its results, on networks with random weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from labelwheel.vision.detection import Detection
from labelwheel.vision.detector import Detector
from labelwheel.vision.geometry import iou_matrix
from tests.integration.vision.test_ultralytics import FLOOR, OFFLINE, SIDE, SIZES, picture, spread_activations

LABELS = {0: "square", 1: "disc"}
MODELS = {
    "obb": "yolov8n-obb.yaml",
    "segment": "yolov8n-seg.yaml",
    "pose": "yolov8n-pose.yaml",
    "classify": "yolov8n-cls.yaml",
    "obb end to end": "yolo26n-obb.yaml",
    "segment end to end": "yolo26n-seg.yaml",
    "pose end to end": "yolo26n-pose.yaml",
}


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any, Detector]]:
    """Its task, the network as ultralytics runs it, and its export as we do."""
    folder = tmp_path_factory.mktemp("task")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**OFFLINE, "YOLO_CONFIG_DIR": str(folder)}.items():
            patch.setenv(key, os.environ.get(key, value))
        patch.chdir(folder)
        from retrain.training.torchvision import ensure_torchvision

        ensure_torchvision()
        from ultralytics import YOLO

        yolo = YOLO(made(folder, MODELS[request.param]))
        onnx = Path(yolo.export(format="onnx", imgsz=SIDE, dynamic=yolo.task != "classify", simplify=False, verbose=False))
        yield yolo.task, YOLO(folder / "model.pt"), Detector(onnx.rename(folder / "served.onnx"), threads=2, floor=FLOOR)


def made(folder: Path, config: str) -> Path:
    """Weights that are sure of many things, so that there is much to compare."""
    import torch
    from ultralytics import YOLO

    torch.manual_seed(5)
    yolo = YOLO(config, verbose=False)
    task, args = yolo.task, yolo.model.args
    yolo.model = type(yolo.model)(config, nc=len(LABELS), verbose=False)
    yolo.model.names, yolo.model.task, yolo.model.args = LABELS, task, args
    head = yolo.model.model[-1]
    for branch in [*getattr(head, "cv3", ()), *getattr(head, "one2one_cv3", ())]:
        torch.nn.init.normal_(branch[-1].weight, std=0.15)
        torch.nn.init.constant_(branch[-1].bias, -2.0)
    spread_activations(yolo.model)
    yolo.model.eval()
    yolo.save(folder / "model.pt")
    return folder / "model.pt"


def test_what_is_found_is_what_ultralytics_finds(pair: tuple[str, Any, Detector]) -> None:
    task, yolo, detector = pair
    assert detector.info.task == task
    random, total = np.random.default_rng(6), 0
    for width, height in SIZES:
        image = picture(random, width, height)
        [result] = yolo.predict(image, imgsz=SIDE, conf=FLOOR, iou=0.7, max_det=300, verbose=False, rect=True)
        total += COMPARE[task](result, detector.detect(image).detections, detector.labels)
    assert total > (10 if task == "classify" else 50)


def boxes_alike(theirs: Any, found: list[Detection], labels: tuple[str, ...]) -> list[tuple[int, int]]:
    """The number of each of their boxes, and of ours that is the same; ours are as many."""
    boxes, confidences, classes = (part.numpy() for part in (theirs.xyxy, theirs.conf, theirs.cls))
    valid = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    ours = np.array([one.box.as_tuple() for one in found]).reshape(-1, 4)
    apart = np.abs(np.array([one.confidence for one in found])[None] - confidences[valid, None])
    same = np.array([labels.index(one.label) for one in found])[None] == classes[valid, None]
    overlap = iou_matrix(boxes[valid], ours) * same * (apart < 1e-3)
    assert len(found) == len(valid)
    assert (overlap.max(axis=1, initial=0) > 0.99).all()
    likest = (overlap - 1000 * apart).argmax(axis=1)  # clipped boxes may be equal: the confidence tells them apart
    return list(zip(valid.tolist(), likest.tolist(), strict=True))


def turned_alike(result: Any, found: list[Detection], labels: tuple[str, ...]) -> int:
    real = (result.obb.xywhr[:, 2:4] > 0).all(dim=1)  # random weights draw sides below zero, too
    theirs, confidences, classes = (part[real].numpy() for part in (result.obb.xyxyxyxy, result.obb.conf, result.obb.cls))
    ours = [(one.rotated.corners(), one.confidence, labels.index(one.label)) for one in found if one.rotated]
    missing = [
        corners
        for corners, confidence, class_id in zip(theirs, confidences, classes, strict=True)
        if inside(corners, result.orig_shape)
        and not any(c == class_id and abs(s - confidence) < 1e-3 and same_corners(corners, o) for o, s, c in ours)
    ]
    assert not missing
    assert len(ours) <= len(theirs)
    return len(theirs)


def inside(corners: np.ndarray, shape: tuple[int, int]) -> bool:
    """Whether the rectangle has a part in the frame: what lies outside of it wholly, we leave out."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    return bool((high > 0.1).all() and low[0] < shape[1] - 0.1 and low[1] < shape[0] - 0.1)


def same_corners(one: np.ndarray, other: np.ndarray) -> bool:
    """The same four places, whichever comes first."""
    apart = np.linalg.norm(one[:, None] - other[None], axis=2)
    return bool(apart.min(axis=1).max() < 0.2)


def outlines_alike(result: Any, found: list[Detection], labels: tuple[str, ...]) -> int:
    """Each outline covers what their mask covers of the image, at the network's own resolution."""
    if result.masks is None:
        assert not found
        return 0
    masks = [placed(mask, result.orig_shape) for mask in result.masks.data.numpy().astype(np.uint8)]
    seen = [number for number, (mask, *_) in enumerate(masks) if mask.any()]  # the others lie in the padding alone
    alike = []
    for theirs, ours in boxes_alike(result.boxes[seen], found, labels):
        mask, inner, corner = masks[seen[theirs]]
        points = np.array(found[ours].polygon) * inner / np.array(result.orig_shape[::-1]) + corner - 0.5
        piece = largest(mask)
        drawn = cv2.fillPoly(np.zeros_like(mask), [points.round().astype(np.int32)], 1)
        assert (drawn != piece).sum() <= 8 + 1.2 * perimeter(piece), "an outline leaves its mask by more than a pixel"
        alike.append((drawn & piece).sum() / (drawn | piece).sum())
    assert np.median(alike) > 0.9
    return len(alike)


def placed(mask: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, list[int], list[int]]:
    """A mask without its padding, and where in it the image lies: its (width, height), its (left, top)."""
    scale = min(mask.shape[0] / shape[0], mask.shape[1] / shape[1])
    inner = [round(side * scale) for side in shape[::-1]]
    left, top = (round((full - part) / 2 - 0.1) for full, part in zip(mask.shape[::-1], inner, strict=True))
    within = np.zeros_like(mask)
    within[top : top + inner[1], left : left + inner[0]] = 1
    return mask * within, inner, [left, top]


def largest(mask: np.ndarray) -> np.ndarray:
    """The piece that our outline is of, without holes."""
    pieces = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    return cv2.drawContours(np.zeros_like(mask), [max(pieces, key=cv2.contourArea)], -1, 1, cv2.FILLED)


def perimeter(mask: np.ndarray) -> float:
    [piece] = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][:1]
    return len(piece)


def skeletons_alike(result: Any, found: list[Detection], labels: tuple[str, ...]) -> int:
    theirs = result.keypoints.data.numpy()
    pairs = boxes_alike(result.boxes, found, labels)
    for number, ours in pairs:
        points = np.array([point[1:] for point in found[ours].keypoints])
        assert points[:, :2] == pytest.approx(theirs[number, :, :2], abs=0.05)
        assert points[:, 2] == pytest.approx(theirs[number, :, 2], abs=1e-3)
    return len(pairs)


def classes_alike(result: Any, found: list[Detection], labels: tuple[str, ...]) -> int:
    theirs = {labels[number]: share for number, share in enumerate(result.probs.data.numpy().tolist()) if share > FLOOR}
    assert {one.label: one.confidence for one in found} == pytest.approx(theirs, abs=1e-3)
    assert all(one.whole and one.box.as_tuple() == (0, 0, *result.orig_shape[::-1]) for one in found)
    return len(found)


COMPARE = {"obb": turned_alike, "segment": outlines_alike, "pose": skeletons_alike, "classify": classes_alike}
