"""What each task's network says, as detections: boxes, turned rectangles, outlines, skeletons, classes of the whole image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from labelwheel.vision.detection import Detection, Keypoint, Point
from labelwheel.vision.geometry import Box, Rotated, enclosing
from labelwheel.vision.image import Pixels
from labelwheel.vision.letterbox import Frame, Tensor
from labelwheel.vision.model_info import ModelInfo
from labelwheel.vision.select import Selected, select

COARSE = 0.75  # pixels of the network's input by which an outline may be simplified: fewer points to drag for the annotator
Read = Callable[[Selected, Frame, ModelInfo, Tensor | None], Iterator[Detection]]


def read(prediction: Tensor, protos: Tensor | None, frame: Frame, info: ModelInfo, floor: float) -> list[Detection]:
    """Detections above `floor` by falling confidence, in pixels of the image. `protos` (masks, h, w) belong to segment alone."""
    if info.task == "classify":
        return list(_classes(prediction, frame, info, floor))
    return list(READ[info.task](select(prediction, floor, info), frame, info, protos))


def _classes(shares: Tensor, frame: Frame, info: ModelInfo, floor: float) -> Iterator[Detection]:
    """Of (classes,) shares, which sum to 1."""
    box = Box(0.0, 0.0, float(frame.width), float(frame.height))
    for class_id in np.argsort(-shares, kind="stable"):
        if shares[class_id] > floor:
            yield Detection(info.labels[class_id], box, float(shares[class_id]), whole=True)


def _boxes(found: Selected, frame: Frame, info: ModelInfo, _: Tensor | None = None) -> Iterator[Detection]:
    return (detection for detection in _plain(found, frame, info) if detection.box.valid)


def _plain(found: Selected, frame: Frame, info: ModelInfo) -> Iterator[Detection]:
    corners = frame.to_image(found.boxes.reshape(-1, 2, 2)).reshape(-1, 4).tolist()
    for corner, confidence, class_id in zip(corners, found.confidences.tolist(), found.classes.tolist(), strict=True):
        yield Detection(info.labels[class_id], Box(*corner), confidence)


def _rotated(found: Selected, frame: Frame, info: ModelInfo, _: Tensor | None) -> Iterator[Detection]:
    centres, sizes = frame.unclipped(found.boxes[:, :2]), found.boxes[:, 2:] / frame.scale
    rows = zip(centres.tolist(), sizes.tolist(), found.more[:, 0].tolist(), found.confidences.tolist(), found.classes.tolist(), strict=True)
    for centre, size, angle, confidence, class_id in rows:
        turned = _regular((*centre, *size, angle))
        box = enclosing(turned.corners()).clipped(frame.width, frame.height)
        if turned.valid and box.valid:
            yield Detection(info.labels[class_id], box, confidence, rotated=turned)


def _regular(given: tuple[float, ...]) -> Rotated:
    """The same rectangle with an angle from 0 to 90 degrees; `given` is centre, size and angle in radians."""
    cx, cy, width, height, angle = given
    if angle % math.pi >= math.pi / 2:
        width, height = height, width
    return Rotated(cx, cy, width, height, math.degrees(angle % (math.pi / 2)))


def _skeletons(found: Selected, frame: Frame, info: ModelInfo, _: Tensor | None) -> Iterator[Detection]:
    points = found.more.reshape(len(found.more), len(info.keypoints), -1)
    places = frame.to_image(points[..., :2])
    sure = points[..., 2] if info.visible else np.ones(points.shape[:2], np.float32)
    for number, detection in enumerate(_plain(found, frame, info)):
        named = zip(info.keypoints, places[number].tolist(), sure[number].tolist(), strict=True)
        keypoints = tuple(Keypoint(name, x, y, confidence) for name, (x, y), confidence in named)
        if detection.box.valid:
            yield Detection(detection.label, detection.box, detection.confidence, keypoints=keypoints)


def _outlines(found: Selected, frame: Frame, info: ModelInfo, protos: Tensor | None) -> Iterator[Detection]:
    for number, detection in enumerate(_plain(found, frame, info)):
        outline = None if protos is None else _outline(found.more[number], protos, frame.inside(found.boxes[number]), frame)
        if detection.box.valid and outline is not None:
            polygon = tuple(Point(*place) for place in frame.to_image(outline).tolist())
            yield Detection(detection.label, detection.box, detection.confidence, polygon=polygon)


def _outline(weights: Tensor, protos: Tensor, box: Tensor, frame: Frame) -> Tensor | None:
    """The largest piece of a mask, (N, 2) in the network's input; None where nothing of it lies in the box."""
    mask, left, top = _mask(weights, protos, box, frame.inputs[1] // protos.shape[2])
    pieces = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0] if mask.size else ()
    if not pieces:
        return None
    largest = max(pieces, key=cv2.contourArea)
    simple = cv2.approxPolyDP(largest, COARSE, closed=True).reshape(-1, 2)
    found = simple if len(simple) > 2 else _around(largest)
    return np.asarray(found + np.array([left + 0.5, top + 0.5]), np.float32)  # a pixel's middle, not its corner


def _around(piece: Pixels) -> Any:
    """A speck's rectangle: a polygon needs three corners."""
    x, y, width, height = cv2.boundingRect(piece)
    return np.asarray([[x, y], [x + width, y], [x + width, y + height], [x, y + height]]) - 0.5


def _mask(weights: Tensor, protos: Tensor, box: Tensor, cells: int) -> tuple[Pixels, int, int]:
    """Of the network's input the part in the box, 1 where the object is, and where that part begins.

    Only the box's part of the prototypes is enlarged (`cells` times), with one more cell around it: its edge is then what enlarging
    all of them gives.
    """
    height, width = protos.shape[1:]
    x1, y1, x2, y2 = (int(max(edge, 0)) for edge in np.ceil(box))
    columns = slice(max(x1 // cells - 1, 0), min(x2 // cells + 2, width))
    rows = slice(max(y1 // cells - 1, 0), min(y2 // cells + 2, height))
    part = np.tensordot(weights, protos[:, rows, columns], axes=1)
    if not part.size:
        return np.zeros((0, 0), np.uint8), 0, 0
    large = cv2.resize(part, None, fx=cells, fy=cells, interpolation=cv2.INTER_LINEAR)
    left, top = columns.start * cells, rows.start * cells
    inside = (large > 0)[max(y1 - top, 0) : y2 - top, max(x1 - left, 0) : x2 - left]
    return np.ascontiguousarray(inside, dtype=np.uint8), max(x1, left), max(y1, top)


READ: dict[str, Read] = {"detect": _boxes, "obb": _rotated, "pose": _skeletons, "segment": _outlines}
