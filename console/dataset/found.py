"""What a dataset folder holds, before anything of it is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box


@dataclass(frozen=True, slots=True)
class Drawn:
    """The boxes of one image, in pixels of the upright image, named by the dataset's classes; and what gave none, in words."""

    boxes: tuple[LabelledBox, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One image. `name` is its path below the folder, `split` train, val or test where the dataset says so.

    `draw(width, height)` of the upright image gives its boxes; None when no label is there for it.
    """

    path: Path
    name: str
    split: str | None
    draw: Callable[[int, int], Drawn] | None
    captured_at: datetime | None = None


@dataclass(frozen=True)
class Found:
    """The classes by name, the images, and what of the folder itself cannot be read, in words."""

    names: tuple[str, ...]
    samples: tuple[Sample, ...]
    faults: tuple[str, ...] = ()


def settle(label: str, box: Box, width: int, height: int) -> LabelledBox | None:
    """The box as far as it lies inside the image; None when nothing of it does."""
    inside = box.clipped(width, height)
    return LabelledBox(label, inside, origin="manual") if inside.valid else None


def distinct(boxes: list[LabelledBox]) -> tuple[LabelledBox, ...]:
    """Without exact repetitions, which trainers drop too."""
    return tuple(dict.fromkeys(boxes))
