"""Load PyTorch weights that somebody brought: `python -m retrain.model.unpack FOLDER`, a process of its own (see `retrain.model.untrusted`).

FOLDER holds request.json and source.pt. Out come result.json with the class names and, where the classes are accepted, the ONNX
file, how well it agrees with torch, and weights that name our labels: a warm start finds the rows of its classes by these names.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from labelwheel.vision import image
from labelwheel.vision.class_match import Matching, match_classes
from labelwheel.vision.detector import Detector
from labelwheel.vision.letterbox import prepare
from labelwheel.vision.model_info import TASKS
from retrain.model.agreement import Agreement, compare, together
from retrain.model.untrusted import REQUEST, RESULT, SOURCE, WEIGHTS, Request, Unpacked, read_request, write
from retrain.training.export import export_onnx
from retrain.training.train import prepare as prepare_torch

HEADS = ("Detect", "v10Detect", "OBB", "OBB26", "Segment", "Segment26", "Pose", "Pose26", "Classify")


def main(folder: Path) -> None:
    """Do what the folder's request asks for."""
    request = read_request(folder / REQUEST)
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), request.nice))
    prepare_torch(request.threads)
    write(folder / RESULT, _unpack(folder, request))


def _unpack(folder: Path, request: Request) -> Unpacked:
    from ultralytics import YOLO

    yolo = YOLO(folder / SOURCE)
    refusal = _refusal(yolo)
    if refusal:
        return Unpacked(refusal=refusal)
    names = [str(yolo.names[class_id]) for class_id in sorted(yolo.names)]
    matching = match_classes(names, request.vocabularies[yolo.task], request.renames, ignore_others=request.ignore_others)
    if matching.unknown or not matching.groups:
        return Unpacked(task=yolo.task, names=names)
    onnx = export_onnx(folder / SOURCE, yolo.task)
    agreement = _agreement(yolo.model, Detector(onnx, threads=request.threads), [Path(path) for path in request.samples])
    _save(yolo, matching, folder / WEIGHTS)
    return Unpacked(task=yolo.task, names=names, onnx=str(onnx), agreement=agreement)


def _refusal(yolo: Any) -> str:
    """Why these weights cannot be served; empty if they can."""
    if yolo.task not in TASKS:
        return f"The weights' task is {yolo.task!r}; served are {', '.join(TASKS)}."
    head = type(yolo.model.model[-1]).__name__
    return "" if head in HEADS else f"The network ends in {head!r}; served are YOLO models with fixed classes."


def _agreement(network: Any, detector: Detector, samples: Sequence[Path]) -> Agreement:
    import torch

    if hasattr(network, "end2end"):
        network.end2end = detector.info.end_to_end  # of two heads the exporter chose one
    found = []
    for sample in samples:
        data = sample.read_bytes()
        tensor, _ = prepare(image.decode(data, max_bytes=len(data), max_pixels=2**31), detector.info)
        with torch.no_grad():
            answer = network.float().eval()(torch.from_numpy(np.ascontiguousarray(tensor)))
        found.append(compare(_first(answer)[0].numpy(), detector.raw(tensor), detector.info))
    return together(found)


def _first(answer: Any) -> Any:
    """The prediction: networks wrap it in tuples with what training or masks need."""
    while isinstance(answer, (tuple, list)):
        answer = answer[0]
    return answer


def _save(yolo: Any, matching: Matching, path: Path) -> None:
    """The weights alone, without what a training left in the file, naming each class by our label."""
    import torch

    model = deepcopy(yolo.model).half()
    labels = {class_id: match.label or f"ignored: {match.name}" for class_id, match in enumerate(matching.matches)}
    model.names = labels
    size = model.args.get("imgsz", 640) if isinstance(model.args, dict) else 640
    torch.save({"epoch": -1, "model": model, "train_args": {"imgsz": size, "task": yolo.task}}, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
