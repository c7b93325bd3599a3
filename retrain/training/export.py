"""Weights to the file that serves: ONNX in f32, with the embedding as a second output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labelwheel.errors import TrainingError
from labelwheel.vision.detector import Detector
from labelwheel.vision.network import EMBEDDING


def export_onnx(weights: Path, task: str = "detect") -> Path:
    """Export weights beside themselves and prove that the detector can serve the file. Needs torch.

    The input may be any rectangle: one image in 4:3 then costs three quarters of its square, as with ultralytics' own `predict`.
    A classifier looks at a square part of the image.
    """
    from ultralytics import YOLO

    model = YOLO(weights, task=task)
    size, backbone = model.overrides.get("imgsz", 640), len(model.model.yaml["backbone"])
    path = Path(model.export(format="onnx", imgsz=size, simplify=False, dynamic=task != "classify", device="cpu"))
    add_embedding(path, backbone - 1)
    Detector(path)
    return path


def add_embedding(path: Path, layer: int) -> None:
    """Add the output `embedding` (1, channels): the global average of what layer number `layer` gives. Raises TrainingError."""
    import onnx

    model = onnx.load(path)
    nodes = [node for node in model.graph.node if node.name.startswith(f"/model.{layer}/")]
    if not nodes:
        raise TrainingError(f"The exported graph does not name its layer {layer}.", "Use an architecture that ultralytics ships.")
    for node in _pooling(nodes[-1].output[0]):
        model.graph.node.append(node)
    model.graph.output.append(onnx.helper.make_tensor_value_info(EMBEDDING, onnx.TensorProto.FLOAT, [1, None]))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _pooling(features: str) -> list[Any]:
    from onnx import helper

    pooled = f"{EMBEDDING}_pooled"
    return [
        helper.make_node("GlobalAveragePool", [features], [pooled], name="/embedding/pool"),
        helper.make_node("Flatten", [pooled], [EMBEDDING], name="/embedding/flatten", axis=1),
    ]
