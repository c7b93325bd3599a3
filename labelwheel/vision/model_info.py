"""What a YOLO export says of itself, checked: its task, its labels and what its input wants to be."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelwheel.errors import ModelError
from labelwheel.vision.class_map import ClassMap

TASKS = ("detect", "obb", "segment", "pose", "classify")
EXPORT_AGAIN = "Export the model again with ultralytics' ONNX exporter (f32)."


@dataclass(frozen=True)
class ModelInfo:
    """What the exporter wrote into the file. `size` is (height, width) of the input; `rectangular` when it may be padded less than that.

    `keypoints` are the names of a skeleton's points, or their numbers; `visible` says whether each point has a confidence.
    """

    labels: tuple[str, ...]
    size: tuple[int, int]
    stride: int
    end_to_end: bool
    rectangular: bool
    task: str = "detect"
    keypoints: tuple[str, ...] = ()
    visible: bool = True


def read_info(metadata: Mapping[str, str], shape: Sequence[int | str | None]) -> ModelInfo:
    """What ultralytics' exporter wrote, checked. `shape` is the input's (N, 3, H, W), with text where it is free. Raises ModelError."""
    task = metadata.get("task", "detect")
    if task not in TASKS:
        raise ModelError(f"The model's task is {task!r}; served are {', '.join(TASKS)}.", EXPORT_AGAIN)
    keypoints, visible = _skeleton(metadata) if task == "pose" else ((), True)
    return ModelInfo(
        labels=_labels(_literal(metadata, "names")),
        size=_size(_literal(metadata, "imgsz"), shape),
        stride=int(_literal({"stride": "32", **metadata}, "stride")),
        end_to_end=metadata.get("end2end") == "True",
        rectangular=task != "classify" and not all(isinstance(side, int) for side in shape[2:]),
        task=task,
        keypoints=keypoints,
        visible=visible,
    )


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


def _skeleton(metadata: Mapping[str, str]) -> tuple[tuple[str, ...], bool]:
    """Names of the points, and whether each has a confidence beside its place."""
    shape = _literal(metadata, "kpt_shape")
    if not isinstance(shape, (list, tuple)) or len(shape) != 2 or not isinstance(shape[0], int) or shape[0] < 1 or shape[1] not in (2, 3):
        raise ModelError(f"The model's skeleton is {shape!r}, not a number of points with 2 or 3 values.", EXPORT_AGAIN)
    names = _literal(metadata, "kpt_names") if "kpt_names" in metadata else None
    named = names.get(0) if isinstance(names, dict) else names
    fits = isinstance(named, (list, tuple)) and len(set(map(str, named))) == len(named) == shape[0]
    return tuple(map(str, named if fits and named else range(shape[0]))), shape[1] == 3
