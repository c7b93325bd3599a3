"""What an image looks like, without a model: four numbers to watch for drift, and a vector to pick a diverse first batch."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from labelwheel.vision.image import Pixels

Vector = npt.NDArray[np.float32]

LONGEST_SIDE = 320
GRID = 8
CELLS = 2
DIRECTIONS = 8
DESCRIPTOR_SIZE = GRID * GRID + CELLS * CELLS * DIRECTIONS
# Grey levels added to the spread before dividing by it: a blank frame's sensor noise must not look like content.
QUIET = 8.0


def measure(image_bgr: Pixels) -> dict[str, float]:
    """Features of an image (H, W, 3), on a copy of at most 320 pixels a side.

    `brightness` mean grey (0–255); `contrast` standard deviation of grey (grey levels); `sharpness` variance of the Laplacian
    (grey levels²); `edges` share of pixels on a Canny edge (0–1).
    """
    grey = _small_grey(image_bgr)
    return {
        "brightness": round(float(grey.mean()), 4),
        "contrast": round(float(grey.std()), 4),
        "sharpness": round(float(cv2.Laplacian(grey, cv2.CV_64F).var()), 4),
        "edges": round(float((cv2.Canny(grey, 100, 200) > 0).mean()), 6),
    }


def descriptor(image_bgr: Pixels) -> Vector:
    """Appearance of an image (H, W, 3) as a float32 vector of 96.

    It is an 8 × 8 grid of grey less its mean, then the gradient's directions (8 bins) in each quarter of the image.
    Euclidean distance is meaningful: each of the two parts has a length of at most 1, and a blank image is near 0.
    """
    grey = _small_grey(image_bgr)
    return np.concatenate([_layout(grey), _directions(grey)]).astype(np.float32)


def _small_grey(image_bgr: Pixels) -> Pixels:
    height, width = image_bgr.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA) if scale < 1 else image_bgr
    return cast(Pixels, cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))


def _layout(grey: Pixels) -> Vector:
    grid = cv2.resize(grey, (GRID, GRID), interpolation=cv2.INTER_AREA).astype(np.float32)
    return cast(Vector, ((grid - grid.mean()) / (grid.std() + QUIET) / GRID).ravel())


def _directions(grey: Pixels) -> Vector:
    across, down = (cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    strength, angle = cv2.cartToPolar(across, down)
    bins = ((angle % np.pi) / np.pi * DIRECTIONS).astype(int).clip(0, DIRECTIONS - 1)
    counts = np.bincount((_quarter(grey) * DIRECTIONS + bins).ravel(), strength.ravel(), CELLS * CELLS * DIRECTIONS)
    return cast(Vector, (counts / (np.linalg.norm(counts) + QUIET * grey.size)).astype(np.float32))


def _quarter(grey: Pixels) -> npt.NDArray[np.intp]:
    """Number (0–3) of the quarter that each pixel lies in."""
    height, width = grey.shape
    rows, columns = np.arange(height) * CELLS // height, np.arange(width) * CELLS // width
    return np.asarray(rows[:, None] * CELLS + columns, dtype=np.intp)
