"""Do two runtimes of one network answer the same? Compared before the selection of boxes, where no tie decides. Pure numpy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from labelwheel.vision.geometry import iou_matrix
from labelwheel.vision.letterbox import Tensor
from labelwheel.vision.model_info import ModelInfo

LEAST_IOU, MOST_DIFFERENCE, MOST_ASIDE = 0.99, 1e-3, 1e-2
STRONGEST = 300  # anchors of an image whose boxes are compared: far more than are ever shown
FLOOR = 0.05


@dataclass(frozen=True, slots=True)
class Agreement:
    """Over so many images and boxes: the lowest overlap, and the greatest difference of a confidence at any place.

    `aside`: the greatest difference of what a task adds to the boxes (angles, masks' weights, points), as a share of the value or of 1.
    """

    images: int
    boxes: int
    iou: float
    confidence: float
    aside: float = 0.0

    @property
    def good(self) -> bool:
        return self.iou >= LEAST_IOU and self.confidence <= MOST_DIFFERENCE and self.aside <= MOST_ASIDE

    def __str__(self) -> str:
        told = f"lowest IoU {self.iou:.4f}, greatest difference of confidence {self.confidence:.1e}"
        more = f", of angles, masks or points {self.aside:.1e}" if self.aside else ""
        return f"{told}{more} on {self.images} images, {self.boxes} boxes"


def compare(one: Tensor, other: Tensor, info: ModelInfo) -> Agreement:
    """One image's answers: (4 + classes + more, anchors), (N, 6 + more) of a model that selects by itself, or (classes,) of a classifier."""
    if one.shape != other.shape:
        return Agreement(1, 0, 0.0, 1.0)
    if info.task == "classify":
        return Agreement(1, 0, 1.0, float(np.abs(one - other).max(initial=0.0)))
    return _selected(one, other) if info.end_to_end else _anchors(one, other, 4 + len(info.labels))


def together(found: Iterable[Agreement]) -> Agreement:
    """The worst of several; no image at all agrees on nothing."""
    every = list(found)
    if not every:
        return Agreement(0, 0, 0.0, 1.0)
    worst = (max(one.confidence for one in every), max(one.aside for one in every))
    return Agreement(len(every), sum(one.boxes for one in every), min(one.iou for one in every), *worst)


def _anchors(one: Tensor, other: Tensor, more: int) -> Agreement:
    """`more` is the first row of what the task adds."""
    strongest = np.argsort(-one[4:more].max(axis=0), kind="stable")[:STRONGEST]
    first, second = _corners(one[:4, strongest]), _corners(other[:4, strongest])
    wide = (first[:, 2:] - first[:, :2] >= 1).all(axis=1)  # the overlap of boxes below a pixel says nothing
    overlaps = _paired(first[wide], second[wide])
    aside = _aside(one[more:, strongest], other[more:, strongest])
    difference = float(np.abs(one[4:more] - other[4:more]).max(initial=0.0))
    return Agreement(1, len(overlaps), float(overlaps.min(initial=1.0)), difference, aside)


def _aside(one: Tensor, other: Tensor) -> float:
    return float((np.abs(one - other) / np.maximum(np.abs(one), 1)).max(initial=0.0))


def _selected(one: Tensor, other: Tensor) -> Agreement:
    """Rows of near-equal confidence may change places: each is compared with the one of its class that it overlaps most."""
    first, second = one[one[:, 4] > FLOOR], other[other[:, 4] > FLOOR - MOST_DIFFERENCE]
    if not len(first):
        return Agreement(1, 0, 1.0, float(np.abs(one[:, 4] - other[:, 4]).max(initial=0.0)))
    overlaps = iou_matrix(first[:, :4], second[:, :4]) * (first[:, 5:6] == second[:, 5])
    near = np.abs(first[:, 4:5] - second[:, 4]) <= MOST_DIFFERENCE
    best = np.where(near, overlaps, overlaps / 2).argmax(axis=1) if overlaps.size else None
    if best is None:
        return Agreement(1, len(first), 0.0, 1.0)
    rows = np.arange(len(first))
    difference = float(np.abs(first[:, 4] - second[best, 4]).max())
    return Agreement(1, len(first), float(overlaps[rows, best].min()), difference, _aside(first[:, 6:], second[best, 6:]))


def _corners(boxes: Tensor) -> Tensor:
    """(4, N) centre and size → (N, 4) corners."""
    centre, half = boxes[:2].T, boxes[2:].T / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _paired(one: Tensor, other: Tensor) -> Tensor:
    return np.array([iou_matrix(a, b)[0, 0] for a, b in zip(one, other, strict=True)], np.float32)
