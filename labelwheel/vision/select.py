"""Which of a network's many candidates are kept, by ultralytics' rules: best class only, then the stronger of two that overlap too much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from labelwheel.vision.letterbox import Tensor
from labelwheel.vision.model_info import ModelInfo

IOU = 0.7
MOST_DETECTIONS = 300
MOST_CANDIDATES = 30_000
MOST_ROTATED = 4_000  # each is compared with each
BLOCK = 256


@dataclass(frozen=True, eq=False)
class Selected:
    """What is kept, by falling confidence, in pixels of the network's input.

    `boxes` (N, 4) are x1, y1, x2, y2, or centre and size where the task is obb. `more` (N, M) is what the task adds: an angle in radians,
    the weights of a mask, a skeleton's points.
    """

    boxes: Tensor
    confidences: Tensor
    classes: npt.NDArray[np.int64]
    more: Tensor

    def at(self, rows: Any) -> Selected:
        return Selected(self.boxes[rows], self.confidences[rows], self.classes[rows], self.more[rows])


def select(prediction: Tensor, floor: float, info: ModelInfo) -> Selected:
    """At most 300 of `prediction`, above `floor`: (4 + classes + more, anchors), or (N, 6 + more) of an end-to-end model, which has selected."""
    if info.end_to_end:
        rows = prediction[prediction[:, 4] > floor][:MOST_DETECTIONS]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        return Selected(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64), rows[:, 6:])
    if info.task == "obb":
        found = _candidates(prediction, floor, len(info.labels), MOST_ROTATED)
        return found.at(_suppress_rotated(found)[:MOST_DETECTIONS])
    found = _upright(_candidates(prediction, floor, len(info.labels), MOST_CANDIDATES))
    return found.at(_suppress(found)[:MOST_DETECTIONS])


def _candidates(prediction: Tensor, floor: float, classes: int, most: int) -> Selected:
    """The strongest that have a width and a height, with boxes as centre and size: OpenCV lets one without suppress all others."""
    best = prediction[4 : 4 + classes].max(axis=0)
    strong = np.flatnonzero((best > floor) & (prediction[2:4] > 0).all(axis=0))
    strong = strong[np.argsort(-best[strong], kind="stable")][:most]
    columns = prediction[:, strong]
    return Selected(columns[:4].T, best[strong], columns[4 : 4 + classes].argmax(axis=0), columns[4 + classes :].T)


def _upright(found: Selected) -> Selected:
    centre, half = found.boxes[:, :2], found.boxes[:, 2:] / 2
    return Selected(np.concatenate([centre - half, centre + half], axis=1), found.confidences, found.classes, found.more)


def _suppress(found: Selected) -> npt.NDArray[np.intp]:
    if not len(found.boxes):
        return np.empty(0, np.intp)
    left_top_size = np.concatenate([found.boxes[:, :2], found.boxes[:, 2:] - found.boxes[:, :2]], axis=1)
    classes = found.classes.astype(np.int32)
    # The stub asks for lists of tuples; arrays are what it takes without a copy per box.
    kept = cv2.dnn.NMSBoxesBatched(cast(Any, left_top_size), cast(Any, found.confidences), cast(Any, classes), 0.0, IOU)
    return np.asarray(kept, dtype=np.intp).ravel()


def _suppress_rotated(found: Selected) -> npt.NDArray[np.intp]:
    """As ultralytics: dropped is whatever overlaps any stronger one of its class, dropped or not."""
    spread, kept = _covariances(found), np.ones(len(found.boxes), bool)
    for start in range(0, len(found.boxes), BLOCK):
        rows = slice(start, start + BLOCK)
        likeness = _likeness(found.boxes, spread, rows) * (found.classes[rows, None] == found.classes)
        kept &= ~(np.triu(likeness, k=start + 1) > IOU).any(axis=0)
    return np.flatnonzero(kept)


def _covariances(found: Selected) -> Tensor:
    """(3, N): each turned rectangle as a Gaussian [[a, c], [c, b]], https://arxiv.org/pdf/2106.06072v1.pdf."""
    a, b = (found.boxes[:, 2:] ** 2 / 12).T
    cosine, sine = np.cos(found.more[:, 0]), np.sin(found.more[:, 0])
    return np.stack([a * cosine**2 + b * sine**2, a * sine**2 + b * cosine**2, (a - b) * cosine * sine])


def _likeness(boxes: Tensor, spread: Tensor, rows: slice, eps: float = 1e-7) -> Tensor:
    """Probabilistic overlap (0–1) of these rows with all: 1 − Hellinger distance of the Gaussians."""
    a, b, c = spread[:, rows, None] + spread[:, None, :]
    dx, dy = np.moveaxis(boxes[rows, None, :2] - boxes[None, :, :2], -1, 0)
    area = a * b - c**2
    own = np.clip(spread[0] * spread[1] - spread[2] ** 2, 0, None)
    far = (a * dy**2 + b * dx**2) / (area + eps) / 4 - c * dx * dy / (area + eps) / 2
    unlike = np.log(area / (4 * np.sqrt(own[rows, None] * own) + eps) + eps) / 2
    return cast(Tensor, 1 - np.sqrt(1 - np.exp(-np.clip(far + unlike, eps, 100)) + eps))
