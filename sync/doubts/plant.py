"""What a tired annotator would have done: labels with one box removed, moved or given another class, to learn from what that looks like."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box, iou_matrix
from sync.doubts.compare import OVERLOOKED, Disagreement, View, compare

WAYS = ("removed", "moved", "swapped")
NEAREST, FARTHEST = 0.25, 1.0  # how far a moved box goes, in shares of its own size
SAME = 0.3  # IoU from which a detection without a box is what was removed


@dataclass(frozen=True, slots=True)
class Planted:
    """A label with one error, and the box that was right."""

    boxes: tuple[LabelledBox, ...]
    was: LabelledBox
    now: LabelledBox | None

    def shows(self, found: Disagreement) -> bool:
        """Whether a disagreement with this label is about what was planted."""
        if found.box is not None:
            return found.box == self.now
        seen = found.seen.box.as_tuple() if found.kind == OVERLOOKED and found.seen else None
        return seen is not None and float(iou_matrix([self.was.box.as_tuple()], [seen])[0, 0]) >= SAME


def planted(view: View, labels: Sequence[str], rng: np.random.Generator) -> Iterator[Disagreement]:
    """What the model would say of the image's label, had one of its boxes been wrong in each of the `WAYS`."""
    for way in WAYS if view.boxes else ():
        error = plant(view.boxes, way, labels, rng)
        if error is not None:
            yield from filter(error.shows, compare(error.boxes, view.detections).disagreements)


def plant(boxes: Sequence[LabelledBox], way: str, labels: Sequence[str], rng: np.random.Generator) -> Planted | None:
    """One error in one of the boxes; None where there is no other class to give it."""
    number = int(rng.integers(len(boxes)))
    was, others = boxes[number], [label for label in labels if label != boxes[number].label]
    if way == "swapped" and not others:
        return None
    now = None if way == "removed" else replace(was, label=str(rng.choice(others))) if way == "swapped" else _moved(was, rng)
    return Planted((*boxes[:number], *([now] if now else []), *boxes[number + 1 :]), was, now)


def _moved(was: LabelledBox, rng: np.random.Generator) -> LabelledBox:
    share, angle, box = rng.uniform(NEAREST, FARTHEST), rng.uniform(0, 2 * math.pi), was.box
    dx, dy = share * box.width * math.cos(angle), share * box.height * math.sin(angle)
    return replace(was, box=Box(box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2 + dy))
