"""What a training is asked for and what comes out: JSON files in its folder, so that the trainer can be a process of its own."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SPEC, PROGRESS, RESULT, LOG = "spec.json", "progress.json", "result.json", "train.log"


@dataclass(frozen=True, slots=True)
class Spec:
    """One training. `start` is an architecture (`yolov8n.yaml`) or a weights file; `updates` are optimiser steps wanted.

    `augmentations` stand for those of the recipe, by ultralytics' names; `freeze` is the number of first layers that keep their weights.
    `formerly` leads from names that classes had to those that they have now, `retired` are those in use no more: see `retrain.training.head`.
    """

    folder: str
    data: str
    start: str
    images: int
    updates: int
    batch_size: int
    image_size: int
    learning_rate: float
    seed: int
    threads: int
    nice: int
    augmentations: dict[str, float] = field(default_factory=dict)
    freeze: int = 0
    formerly: dict[str, str] = field(default_factory=dict)
    retired: list[str] = field(default_factory=list)

    @property
    def warm(self) -> bool:
        """From weights, not from scratch."""
        return self.start.endswith(".pt")

    @property
    def batch(self) -> int:
        return min(self.batch_size, self.images)

    @property
    def epochs(self) -> int:
        """The whole number of epochs nearest to the wanted updates, at least one."""
        return max(1, round(self.updates / math.ceil(self.images / self.batch)))

    @property
    def updates_made(self) -> int:
        return self.epochs * math.ceil(self.images / self.batch)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is. `eta_seconds` is None until it can be told."""

    percent: float
    epoch: int
    epochs: int
    eta_seconds: float | None
    losses: dict[str, float]


@dataclass(frozen=True, slots=True)
class Result:
    """A finished training: its weights (.pt), the file that serves (.onnx), and what it took. Seconds are those of the last attempt."""

    weights: str
    onnx: str
    epochs: int
    updates: int
    seconds: float
    resumed: bool


def write(path: Path, value: Spec | Progress | Result) -> None:
    """Write JSON so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(asdict(value), indent=1))
    draft.replace(path)


def read_spec(folder: Path) -> Spec | None:
    return Spec(**data) if (data := _read(folder / SPEC)) else None


def read_progress(folder: Path) -> Progress | None:
    return Progress(**data) if (data := _read(folder / PROGRESS)) else None


def read_result(folder: Path) -> Result | None:
    return Result(**data) if (data := _read(folder / RESULT)) else None


def read_history(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Losses and learning rates by epoch, from ultralytics' results.csv."""
    path = folder / "fit" / "results.csv"
    if not path.is_file():
        return []
    with path.open() as stream:
        rows = [found for row in csv.DictReader(stream) if (found := _numbers(row))]
    # A resumed training writes the epochs since its checkpoint once more: what came last is what was kept.
    by_epoch = {int(row["epoch"]): {key: value for key, value in row.items() if "/" in key} for row in rows}
    return sorted(by_epoch.items())


def thinned(history: Sequence[tuple[int, dict[str, float]]], most: int = 50) -> list[tuple[int, dict[str, float]]]:
    """At most so many epochs, evenly spread, the first and the last among them: what pages draw and rows keep."""
    if len(history) <= most:
        return list(history)
    return [history[round(place * (len(history) - 1) / (most - 1))] for place in range(most)]


def _numbers(row: Mapping[str | None, Any]) -> dict[str, float]:
    """A row of results.csv; nothing of one that a kill cut short."""
    try:
        return {str(key).strip(): float(value) for key, value in row.items()}
    except (TypeError, ValueError):
        return {}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):  # never written, or lost when the power failed: what it says is made again
        return None
