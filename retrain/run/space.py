"""What a run needs of the disk, and whether it is there. A run that finds too little waits; nothing of it is written before."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from retrain.run.attempts import Waits

LABEL_BYTES = 4096  # a file system gives a label file a block
PARAMETERS = {"n": 3.4e6, "t": 3.4e6, "s": 1.2e7, "m": 2.8e7, "b": 2.8e7, "l": 4.8e7, "c": 5.2e7, "e": 6.0e7, "x": 7.2e7}
OF_WEIGHTS = 2  # bytes of a parameter in the .pt that stays: f16
CHECKPOINTS = 2 * 12  # two of them for a moment: weights, their average and AdamW's two moments
MODELS = 3 * 4 + 2 * 2  # ONNX in the trainer's folder, ours and MLflow's; .pt in ours and MLflow's


class NoSpace(Waits):
    """Until somebody has made room."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes on the disk of `home`."""

    dataset: int
    training: int
    reserve: int

    @property
    def total(self) -> int:
        return self.dataset + self.training + self.reserve

    def demand(self, free: int) -> None:
        """Raises NoSpace with the numbers."""
        if free < self.total:
            parts = f"dataset {_mb(self.dataset)}, checkpoints and models {_mb(self.training)}, to be left free {_mb(self.reserve)}"
            raise NoSpace(
                f"The training needs {_mb(self.total)} of disk ({parts}); {_mb(free)} are free.",
                "Free some, or lower LABELWHEEL_MIN_FREE_BYTES; the training then goes on by itself.",
            )


def need_of(image_bytes: int, images: int, parameters: float, reserve: int) -> Need:
    """An upper estimate: the dataset as a folder and in DVC's cache (hard links, where the disk has them, halve it), and the training."""
    return Need(2 * (image_bytes + images * LABEL_BYTES), round(parameters * (CHECKPOINTS + MODELS)), reserve)


def parameters_of(weights: Path | None, architecture: str) -> float:
    """Parameters of a network: by the size of its weights, else by the letter of its architecture (`yolo11s`); the largest where unknown."""
    if weights is not None and weights.is_file():
        return weights.stat().st_size / OF_WEIGHTS
    letter = re.search(r"\d([a-z])", architecture)
    return PARAMETERS.get(letter[1] if letter else "", max(PARAMETERS.values()))


def free_bytes(home: Path) -> int:
    home.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(home).free


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
