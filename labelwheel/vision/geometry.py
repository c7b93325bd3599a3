"""Boxes in pixels of the upright image, and their conversions at the edge: Label Studio's percent, YOLO's centre form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """An upright box: left, top, right, bottom in pixels; edges lie between pixels, so a full frame is (0, 0, W, H)."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        """Square pixels; 0 for a box that is not valid."""
        return self.width * self.height if self.valid else 0.0

    @property
    def valid(self) -> bool:
        """Finite, with a positive width and height."""
        return all(map(math.isfinite, self.as_tuple())) and self.x2 > self.x1 and self.y2 > self.y1

    def as_tuple(self) -> tuple[float, float, float, float]:
        return self.x1, self.y1, self.x2, self.y2

    def clipped(self, width: float, height: float) -> Box:
        """The part inside a frame of this size; not valid when nothing is inside."""
        return Box(
            min(max(self.x1, 0.0), width),
            min(max(self.y1, 0.0), height),
            min(max(self.x2, 0.0), width),
            min(max(self.y2, 0.0), height),
        )


@dataclass(frozen=True)
class Rotated:
    """A turned rectangle: its centre, width and height in pixels, and `angle` degrees by which its width is turned clockwise."""

    cx: float
    cy: float
    width: float
    height: float
    angle: float

    @property
    def valid(self) -> bool:
        """Finite, with a positive width and height."""
        return all(map(math.isfinite, self.as_tuple())) and self.width > 0 and self.height > 0

    def as_tuple(self) -> tuple[float, float, float, float, float]:
        return self.cx, self.cy, self.width, self.height, self.angle

    def corners(self) -> Floats:
        """(4, 2) pixels, clockwise; the first is the one that Label Studio's x and y name."""
        sine, cosine = math.sin(math.radians(self.angle)), math.cos(math.radians(self.angle))
        right = np.array([cosine, sine]) * self.width / 2
        down = np.array([-sine, cosine]) * self.height / 2
        centre = np.array([self.cx, self.cy])
        return np.stack([centre - right - down, centre + right - down, centre + right + down, centre - right + down])

    def turned(self) -> Rotated:
        """The same rectangle, seen from its next corner: its height is the width of this one."""
        return Rotated(self.cx, self.cy, self.height, self.width, self.angle + 90)


def percent_to_corners(x: float, y: float, width: float, height: float, rotation: float, image_width: float, image_height: float) -> Floats:
    """Corners of a Label Studio rectangle: (4, 2) pixels, clockwise from the corner that (x, y) names.

    The rectangle is given in percent of the image and turned clockwise by `rotation` degrees about that corner.
    Percent of width and of height are different lengths, so the turn is worked in pixels.
    """
    origin = np.array([x * image_width, y * image_height]) / 100
    along, down = width * image_width / 100, height * image_height / 100
    sine, cosine = math.sin(math.radians(rotation)), math.cos(math.radians(rotation))
    right, below = np.array([along * cosine, along * sine]), np.array([-down * sine, down * cosine])
    return np.stack([origin, origin + right, origin + right + below, origin + below])


def enclosing(corners: npt.ArrayLike) -> Box:
    """The smallest upright box around points of shape (N, 2), N ≥ 1."""
    points = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
    return Box(*points.min(axis=0).tolist(), *points.max(axis=0).tolist())


def box_to_percent(box: Box, image_width: float, image_height: float) -> dict[str, float]:
    """Label Studio's `x, y, width, height` in percent of the image, and `rotation` 0."""
    return {
        "x": 100 * box.x1 / image_width,
        "y": 100 * box.y1 / image_height,
        "width": 100 * box.width / image_width,
        "height": 100 * box.height / image_height,
        "rotation": 0.0,
    }


def rotated_to_percent(rotated: Rotated, image_width: float, image_height: float) -> dict[str, float]:
    """Label Studio's `x, y, width, height` in percent and `rotation` in degrees: the inverse of `percent_to_corners`."""
    x, y = rotated.corners()[0]
    return {
        "x": 100 * float(x) / image_width,
        "y": 100 * float(y) / image_height,
        "width": 100 * rotated.width / image_width,
        "height": 100 * rotated.height / image_height,
        "rotation": rotated.angle,
    }


def box_to_yolo(box: Box, image_width: float, image_height: float) -> tuple[float, float, float, float]:
    """YOLO's centre x, centre y, width, height as shares (0–1) of the image."""
    return (
        (box.x1 + box.x2) / 2 / image_width,
        (box.y1 + box.y2) / 2 / image_height,
        box.width / image_width,
        box.height / image_height,
    )


def yolo_to_box(cx: float, cy: float, width: float, height: float, image_width: float, image_height: float) -> Box:
    """Inverse of `box_to_yolo`."""
    return Box(
        (cx - width / 2) * image_width,
        (cy - height / 2) * image_height,
        (cx + width / 2) * image_width,
        (cy + height / 2) * image_height,
    )


def iou_matrix(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Intersection over union, (N, M), of boxes (N, 4) and (M, 4) given as x1, y1, x2, y2. Boxes without area overlap nothing."""
    left, right = _rows(a)[:, None, :], _rows(b)[None, :, :]
    overlap = _product(np.minimum(left[..., 2:], right[..., 2:]) - np.maximum(left[..., :2], right[..., :2]))
    union = _product(left[..., 2:] - left[..., :2]) + _product(right[..., 2:] - right[..., :2]) - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def _rows(boxes: npt.ArrayLike) -> Floats:
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def _product(sides: npt.NDArray[Any]) -> Floats:
    return np.asarray(np.clip(sides, 0, None).prod(axis=-1), dtype=np.float64)
