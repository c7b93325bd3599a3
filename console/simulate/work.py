"""The worker, a process of its own: `python -m console.simulate.work ROOT`. Torch is loaded once, for many short trainings.

Standard input names a step's folder a line; each is answered with one line of JSON: `{}`, or `{"error": "…"}`. It ends with its input.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from console.simulate.step import WEIGHTS, Outcome, Seen, Step, folder_of, read_outcome, read_step, write_outcome
from console.simulate.stock import Photo
from labelwheel.settings import get_settings
from labelwheel.storage import ImageStore
from labelwheel.vision import image
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.detector import Detector
from labelwheel.vision.image import Pixels
from retrain.dataset import yolo
from retrain.dataset.content import Item, Plan
from retrain.gate.evaluate import evaluate
from retrain.training.export import export_onnx
from retrain.training.spec import PROGRESS
from retrain.training.train import fit

SCRATCH = ("data", "fit")
WAIT_SECONDS = 60  # for an orphan of a killed run to notice that its parent is gone


def main(root: Path) -> None:
    """Work what standard input names."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        try:
            work(root, Path(line.strip()))
            answer = {}
        except Exception as error:  # noqa: BLE001  whatever a training meets, the next one may be tried
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")


def work(root: Path, folder: Path) -> Outcome:
    """Train, score and look as the folder's step says; the weights stay beside the outcome.

    A step that was cut short begins anew: a run that was killed then gives the figures of one that was not.
    """
    with FileLock(folder / "lock", timeout=WAIT_SECONDS):
        known = read_outcome(folder)
        if known is not None:
            return known
        _clear(folder)
        outcome = _worked(root, folder, read_step(folder))
        write_outcome(folder, outcome)
        _clear(folder)
        return outcome


def _worked(root: Path, folder: Path, step: Step) -> Outcome:
    started, store = time.monotonic(), ImageStore(root / "images")
    data = yolo.write(Plan(_items(step.train, "train"), (), ClassMap(step.labels)), store, folder / "data")
    start = str(folder_of(root, step.start) / WEIGHTS) if step.start else step.spec.start
    spec = replace(step.spec, folder=str(folder), data=str(data), start=start)
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), spec.nice))
    weights, _ = fit(spec, os.getppid())
    outcome = _judged(step, Detector(export_onnx(weights), threads=spec.threads), store)
    weights.replace(folder / WEIGHTS)
    return replace(outcome, updates=spec.updates_made, seconds=round(time.monotonic() - started, 1))


def _judged(step: Step, detector: Detector, store: ImageStore) -> Outcome:
    test = _items(step.test, "holdout")
    scores: dict[str, Any] = {}
    if test:
        scores = evaluate(detector, test, lambda item: _pixels(store, item.uri), ClassMap(tuple(step.labels))).as_dict()
    seen = {photo.key: _seen(detector, _pixels(store, photo.uri)) for photo in step.pool}
    return Outcome(step.key, 0, 0.0, scores, seen)


def _seen(detector: Detector, pixels: Pixels) -> Seen:
    found = detector.detect(pixels)
    embedding = () if found.embedding is None else tuple(round(float(value), 5) for value in found.embedding)
    return Seen(tuple(found.detections), embedding)


def _pixels(store: ImageStore, uri: str) -> Pixels:
    settings = get_settings()
    return image.decode(store.read(uri), max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)


def _items(photos: Sequence[Photo], split: str) -> tuple[Item, ...]:
    items = [
        Item(0, 0, photo.key, photo.uri, photo.width, photo.height, split, photo.source, photo.boxes, (), "", 0, "") for photo in photos
    ]
    return tuple(sorted(items, key=lambda item: item.sha256))


def _clear(folder: Path) -> None:
    for name in SCRATCH:
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / PROGRESS).unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
