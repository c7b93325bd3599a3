"""A YOLO model in an ONNX file, ready to look at images: detect, obb, segment, pose or classify.

Preparation and selection repeat ultralytics' (letterbox with grey 114, best class only, class-aware NMS), so that the confidences
here are those of training and of evaluation: thresholds on them decide who is labelled.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from labelwheel.errors import ModelError
from labelwheel.vision import heads
from labelwheel.vision.detection import Detection
from labelwheel.vision.image import Pixels
from labelwheel.vision.lanes import get_lanes
from labelwheel.vision.letterbox import Tensor, prepare
from labelwheel.vision.model_info import EXPORT_AGAIN, ModelInfo, read_info
from labelwheel.vision.network import Network, Outputs


@dataclass(frozen=True, eq=False)
class Detected:
    """Detections by falling confidence, and the image's embedding (D,) where the model has that output."""

    detections: list[Detection]
    embedding: Tensor | None


class Detector:
    """One loaded model; `detect` may be called from many threads at once.

    `threads` 0 takes all cores. Detections at or below `floor` are not reported. Loading runs the network once, so a file that
    cannot serve is refused here, with ModelError, and the first image is not slow.
    """

    def __init__(self, path: Path, threads: int = 0, floor: float = 0.05) -> None:
        self.path = path
        self.floor = floor
        self._lanes = get_lanes(threads)
        self._network = Network(path, threads)
        self.info = read_info(self._network.metadata, self._network.shape)
        self._warm_up()

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the model's class ids."""
        return self.info.labels

    @property
    def lanes(self) -> int:
        """How many images are looked at at once."""
        return self._lanes.count

    def detect(self, image_bgr: Pixels) -> Detected:
        """Detect in an upright BGR image (H, W, 3), uint8; boxes are in its pixels, clipped to it."""
        return self.submit(image_bgr).result()

    def submit(self, image_bgr: Pixels) -> Future[Detected]:
        """`detect`, when its turn comes: images of all callers are looked at in the order of their coming."""
        return self._lanes.submit(partial(self._detect, image_bgr))

    def raw(self, tensor: Tensor) -> Tensor:
        """The network's own answer to an input made by `prepare`, before any selection: what `select` takes."""
        return self._network.run(tensor).prediction

    def _detect(self, image_bgr: Pixels, alone: bool) -> Detected:
        tensor, frame = prepare(image_bgr, self.info)
        found = self._network.run(tensor, alone=alone)
        return Detected(heads.read(found.prediction, found.protos, frame, self.info, self.floor), found.embedding)

    def _warm_up(self) -> None:
        height, width = self.info.size
        try:
            found = self._network.run(np.zeros((1, 3, height, width), np.float32))
        except Exception as error:  # ONNX Runtime's errors share no base but Exception
            raise ModelError(f"The model {self.path} does not run: {error}", EXPORT_AGAIN) from error
        if not _fits(found, self.info):
            shape, task = found.prediction.shape, self.info.task
            message = f"The model {self.path} answers {shape}, unfit for {task} with its {len(self.labels)} classes."
            raise ModelError(message, EXPORT_AGAIN)


def _fits(found: Outputs, info: ModelInfo) -> bool:
    """Whether the answer has the shape that its task and its classes demand."""
    if info.task == "classify":
        return found.prediction.shape == (len(info.labels),)
    if found.prediction.ndim != 2 or (info.task == "segment") != (found.protos is not None):
        return False
    values = found.prediction.shape[1 if info.end_to_end else 0]
    return bool(values == (6 if info.end_to_end else 4 + len(info.labels)) + _more(found, info))


def _more(found: Outputs, info: ModelInfo) -> int:
    """How many values a task adds to each box."""
    masks = 0 if found.protos is None else len(found.protos)
    return {"obb": 1, "segment": masks, "pose": len(info.keypoints) * (3 if info.visible else 2)}.get(info.task, 0)
