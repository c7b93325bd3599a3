"""A YOLO detector in an ONNX file, served by ONNX Runtime on the CPU in f32. Torch is not needed.

Preparation and selection repeat ultralytics' (letterbox with grey 114, best class only, class-aware NMS), so that the confidences
here are those of training and of evaluation: thresholds on them decide who is labelled.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from labelwheel.errors import ModelError
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.detection import Detection
from labelwheel.vision.geometry import Box
from labelwheel.vision.image import Pixels

Tensor = npt.NDArray[np.float32]

GREY = 114
IOU = 0.7
MOST_DETECTIONS = 300
MOST_CANDIDATES = 30_000
EMBEDDING = "embedding"
EXPORT_AGAIN = "Export the model again with ultralytics' ONNX exporter (task detect, f32)."


@dataclass(frozen=True, eq=False)
class Detected:
    """Detections by falling confidence, and the image's embedding (D,) where the model has that output."""

    detections: list[Detection]
    embedding: Tensor | None


@dataclass(frozen=True)
class ModelInfo:
    """What the exporter wrote into the file. `size` is (height, width) of the input; `rectangular` when it may be padded less than that."""

    labels: tuple[str, ...]
    size: tuple[int, int]
    stride: int
    end_to_end: bool
    rectangular: bool


class Detector:
    """One loaded model; `detect` may be called from many threads at once.

    `threads` 0 takes all cores. Detections at or below `floor` are not reported. Loading runs the network once, so a file that
    cannot serve is refused here, with ModelError, and the first image is not slow.
    """

    def __init__(self, path: Path, threads: int = 0, floor: float = 0.05) -> None:
        self.path = path
        self.floor = floor
        self._session = _load(path, threads)
        self._input = self._session.get_inputs()[0]
        self._outputs = _output_names(self._session)
        self.info = read_info(self._session.get_modelmeta().custom_metadata_map, self._input.shape)
        self._warm_up()

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the model's class ids."""
        return self.info.labels

    def detect(self, image_bgr: Pixels) -> Detected:
        """Detect in an upright BGR image (H, W, 3), uint8; boxes are in its pixels, clipped to it."""
        tensor, frame = prepare(image_bgr, self.info)
        prediction, embedding = self._run(tensor)
        boxes, confidences, classes = select(prediction, self.floor, self.info.end_to_end)
        corners = frame.to_image(boxes)
        found = (
            Detection(self.info.labels[class_id], Box(*corner), confidence)
            for corner, confidence, class_id in zip(corners.tolist(), confidences.tolist(), classes.tolist(), strict=True)
        )
        return Detected([detection for detection in found if detection.box.valid], embedding)

    def raw(self, tensor: Tensor) -> Tensor:
        """The network's own answer to an input made by `prepare`, before any selection: what `select` takes."""
        return self._run(tensor)[0]

    def _run(self, tensor: Tensor) -> tuple[Tensor, Tensor | None]:
        prediction, *rest = self._session.run(self._outputs, {self._input.name: tensor})
        return prediction[0], np.asarray(rest[0][0], dtype=np.float32).ravel() if rest else None

    def _warm_up(self) -> None:
        height, width = self.info.size
        try:
            prediction, _ = self._run(np.zeros((1, 3, height, width), np.float32))
        except Exception as error:  # ONNX Runtime's errors share no base but Exception
            raise ModelError(f"The model {self.path} does not run: {error}", EXPORT_AGAIN) from error
        expected = (-1, 6) if self.info.end_to_end else (4 + len(self.labels), -1)
        if prediction.ndim != 2 or any(want not in (-1, got) for want, got in zip(expected, prediction.shape, strict=True)):
            raise ModelError(f"The model {self.path} answers {prediction.shape}, unfit for its {len(self.labels)} classes.", EXPORT_AGAIN)


@dataclass(frozen=True)
class Frame:
    """Where an image (width, height) lies inside the padded network input: its scale and the padding at the left and top, in pixels."""

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: int
    top: int

    def to_image(self, boxes: Tensor) -> Tensor:
        """Boxes (N, 4) as x1, y1, x2, y2 of the network's input, in pixels of the image and clipped to it."""
        offset = np.array([self.left, self.top] * 2, np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float32)
        limit = np.array([self.width, self.height] * 2, np.float32)
        return cast(Tensor, np.clip((boxes - offset) / scale, 0, limit))


def read_info(metadata: Mapping[str, str], shape: Sequence[int | str | None]) -> ModelInfo:
    """What ultralytics' exporter wrote, checked. `shape` is the input's (N, 3, H, W), with text where it is free. Raises ModelError."""
    task = metadata.get("task", "detect")
    if task != "detect":
        raise ModelError(f"The model's task is {task!r}; only detection is served.", EXPORT_AGAIN)
    return ModelInfo(
        labels=_labels(_literal(metadata, "names")),
        size=_size(_literal(metadata, "imgsz"), shape),
        stride=int(_literal({"stride": "32", **metadata}, "stride")),
        end_to_end=metadata.get("end2end") == "True",
        rectangular=not all(isinstance(side, int) for side in shape[2:]),
    )


def prepare(image_bgr: Pixels, info: ModelInfo) -> tuple[Tensor, Frame]:
    """Letterbox an image into the network's input: a tensor (1, 3, H, W) of RGB shares (0–1), and where the image lies in it."""
    height, width = image_bgr.shape[:2]
    scale = min(info.size[0] / height, info.size[1] / width)
    inner_width, inner_height = max(round(width * scale), 1), max(round(height * scale), 1)
    (left, right), (top, bottom) = (
        _padding(full - inner, info) for full, inner in ((info.size[1], inner_width), (info.size[0], inner_height))
    )
    inner_size = (inner_width, inner_height)
    inner = image_bgr if inner_size == (width, height) else cv2.resize(image_bgr, inner_size, interpolation=cv2.INTER_LINEAR)
    padded = cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(GREY, GREY, GREY))
    tensor = cast(Tensor, cv2.dnn.blobFromImage(padded, 1 / 255, swapRB=True))
    return tensor, Frame(width, height, inner_width / width, inner_height / height, left, top)


def select(prediction: Tensor, floor: float, end_to_end: bool) -> tuple[Tensor, Tensor, npt.NDArray[np.int64]]:
    """Boxes (N, 4) as x1, y1, x2, y2 of the network's input, confidences (N,) falling, class ids (N,); N ≤ 300.

    `prediction` is (4 + classes, anchors) as centre and size, or (N, 6) with the selection already done by an end-to-end model.
    """
    if end_to_end:
        rows = prediction[prediction[:, 4] > floor][:MOST_DETECTIONS]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        return rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64)
    boxes, confidences, classes = _candidates(prediction, floor)
    kept = _suppress(boxes, confidences, classes)
    return boxes[kept], confidences[kept], classes[kept]


def _candidates(prediction: Tensor, floor: float) -> tuple[Tensor, Tensor, npt.NDArray[np.int64]]:
    best = prediction[4:].max(axis=0)
    strong = np.flatnonzero(best > floor)
    strong = strong[np.argsort(-best[strong], kind="stable")][:MOST_CANDIDATES]
    columns = prediction[:, strong]
    centre, half = columns[:2].T, columns[2:4].T / 2
    return np.concatenate([centre - half, centre + half], axis=1), best[strong], columns[4:].argmax(axis=0)


def _suppress(boxes: Tensor, confidences: Tensor, classes: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    if not len(boxes):
        return np.empty(0, np.intp)
    left_top_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    # The stub asks for lists of tuples; arrays are what it takes without a copy per box.
    kept = cv2.dnn.NMSBoxesBatched(cast(Any, left_top_size), cast(Any, confidences), cast(Any, classes.astype(np.int32)), 0.0, IOU)
    return np.asarray(kept, dtype=np.intp).ravel()[:MOST_DETECTIONS]


def _padding(missing: int, info: ModelInfo) -> tuple[int, int]:
    """Pixels before and after; ultralytics gives the odd pixel to the right and the bottom."""
    half = (missing % info.stride if info.rectangular else missing) / 2
    return round(half - 0.1), round(half + 0.1)


def _load(path: Path, threads: int) -> Any:
    if not path.is_file():
        raise ModelError(f"There is no model file {path}.", "Deploy a model, or restore the file from the registry.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Idle threads that spin would take the cores from training and from Label Studio, which share them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base but Exception
        raise ModelError(f"The model {path} cannot be loaded: {error}", EXPORT_AGAIN) from error


def _output_names(session: Any) -> list[str]:
    """The prediction first, then the embedding where there is one."""
    names = [output.name for output in session.get_outputs()]
    predictions = [name for name in names if name != EMBEDDING]
    if not predictions:
        raise ModelError("The model has no output with boxes.", EXPORT_AGAIN)
    return predictions[:1] + [name for name in names if name == EMBEDDING]


def _literal(metadata: Mapping[str, str], key: str) -> Any:
    try:
        return ast.literal_eval(metadata[key])
    except (KeyError, ValueError, SyntaxError) as error:
        raise ModelError(f"The model's metadata has no usable {key!r}.", EXPORT_AGAIN) from error


def _labels(names: Any) -> tuple[str, ...]:
    if not isinstance(names, dict) or not names or sorted(names) != list(range(len(names))):
        raise ModelError(f"The model's class names are not numbered from 0: {names!r}.", EXPORT_AGAIN)
    return ClassMap(tuple(str(names[class_id]) for class_id in range(len(names)))).labels


def _size(written: Any, shape: Sequence[int | str | None]) -> tuple[int, int]:
    """(height, width): what the graph demands, else what the exporter wrote."""
    sides = [written, written] if isinstance(written, int) else written
    if not isinstance(sides, (list, tuple)) or len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ModelError(f"The model's image size is {written!r}, not a height and a width.", EXPORT_AGAIN)
    height, width = (fixed if isinstance(fixed, int) else side for fixed, side in zip(shape[2:], sides, strict=True))
    return height, width
