"""An image into a network's input as ultralytics does it, and back: the confidences here are then those of training and of evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from labelwheel.vision.image import Pixels
from labelwheel.vision.model_info import ModelInfo

Tensor = npt.NDArray[np.float32]

GREY = 114


@dataclass(frozen=True)
class Frame:
    """Where an image (width, height) lies inside the network's input: its scale and the padding at the left and top, in pixels.

    `inputs` is the (height, width) of that input; what a classifier does not see lies outside of it.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: int
    top: int
    inputs: tuple[int, int]

    def to_image(self, points: Tensor) -> Tensor:
        """Places (…, 2) in the network's input as places in the image, clipped to it."""
        return cast(Tensor, np.clip(self.unclipped(points), 0, np.array([self.width, self.height], np.float32)))

    def unclipped(self, points: Tensor) -> Tensor:
        """The same, also for what lies outside."""
        return cast(Tensor, (points - np.array([self.left, self.top], np.float32)) / self.scale)

    def inside(self, box: Tensor) -> Tensor:
        """The part of a box (4,) of the network's input in which the image lies."""
        low = np.array([self.left, self.top], np.float32)
        high = low + np.array([self.width, self.height], np.float32) * self.scale
        return cast(Tensor, np.clip(box.reshape(2, 2), low, high).reshape(4))

    @property
    def scale(self) -> Tensor:
        """(2,): pixels of the input for one of the image, along x and y."""
        return np.array([self.scale_x, self.scale_y], np.float32)


def prepare(image_bgr: Pixels, info: ModelInfo) -> tuple[Tensor, Frame]:
    """An image as the network's input: a tensor (1, 3, H, W) of RGB shares (0–1), and where the image lies in it."""
    return _cropped(image_bgr, info) if info.task == "classify" else _letterboxed(image_bgr, info)


def _letterboxed(image_bgr: Pixels, info: ModelInfo) -> tuple[Tensor, Frame]:
    height, width = image_bgr.shape[:2]
    scale = min(info.size[0] / height, info.size[1] / width)
    inner_width, inner_height = max(round(width * scale), 1), max(round(height * scale), 1)
    (left, right), (top, bottom) = (
        _padding(full - inner, info) for full, inner in ((info.size[1], inner_width), (info.size[0], inner_height))
    )
    inner_size = (inner_width, inner_height)
    inner = image_bgr if inner_size == (width, height) else cv2.resize(image_bgr, inner_size, interpolation=cv2.INTER_LINEAR)
    padded = cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(GREY, GREY, GREY))
    inputs = (padded.shape[0], padded.shape[1])
    return _tensor(padded), Frame(width, height, inner_width / width, inner_height / height, left, top, inputs)


def _cropped(image_bgr: Pixels, info: ModelInfo) -> tuple[Tensor, Frame]:
    """What classifiers are trained on: the middle of the image, its shorter side scaled to the input's (Pillow's smooth bilinear)."""
    height, width = image_bgr.shape[:2]
    inner = _fitted(width, height, info.size)
    scaled = np.asarray(Image.fromarray(image_bgr).resize(inner, Image.Resampling.BILINEAR))
    top, left = (round((side - want) / 2.0) for side, want in zip(scaled.shape, info.size, strict=False))
    crop = scaled[top : top + info.size[0], left : left + info.size[1]]
    return _tensor(cast(Pixels, crop)), Frame(width, height, inner[0] / width, inner[1] / height, -left, -top, info.size)


def _fitted(width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) after scaling: the shorter side to a square's, else exactly the input's."""
    if size[0] != size[1]:
        return size[1], size[0]
    short, side = min(width, height), size[0]
    return (side, int(side * height / width)) if width == short else (int(side * width / height), side)


def _tensor(pixels_bgr: Pixels) -> Tensor:
    return cast(Tensor, cv2.dnn.blobFromImage(pixels_bgr, 1 / 255, swapRB=True))


def _padding(missing: int, info: ModelInfo) -> tuple[int, int]:
    """Pixels before and after; ultralytics gives the odd pixel to the right and the bottom."""
    half = (missing % info.stride if info.rectangular else missing) / 2
    return round(half - 0.1), round(half + 0.1)
