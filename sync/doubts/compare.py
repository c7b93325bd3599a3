"""Label and model side by side: where they agree, and each way in which they do not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import iou_matrix

Floats = npt.NDArray[np.float64]

OVERLOOKED, MISPLACED, SWAPPED, EXTRA = KINDS = ("overlooked", "misplaced", "swapped", "extra")
HERE, NEAR = 0.55, 0.1  # IoU from which a detection is at a box's place, and from which it is beside it
SAME_PLACE = 0.4  # IoU from which two detections speak of one thing
FAINT = 0.1  # confidence below which a detection says nothing of where a box fits


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One way in which a model's view of an image is not the label's. `strength` (0–1): how much surer it is than of the label.

    `box` is None where the label has none, `seen` where the model sees nothing; `iou` is how far the two are one. The rest are shares
    (0–1) that tell a person's error from a model's: confidence in the box as it is (`held`), in anything there (`near`), and how well a
    detection of its class fits it (`fit`); confidence in another class at the place (`rival`), in a second box of the same (`again`);
    and how far a box of the label covers the place (`covered`).
    """

    kind: str
    strength: float
    box: LabelledBox | None
    seen: Detection | None
    iou: float = 0.0
    held: float = 0.0
    near: float = 0.0
    fit: float = 0.0
    rival: float = 0.0
    again: float = 0.0
    covered: float = 0.0

    @property
    def label(self) -> str:
        """The class that it is about: what the model sees, else what the label says."""
        return self.seen.label if self.seen else self.box.label if self.box else ""


@dataclass(frozen=True, slots=True)
class View:
    """Label and model of one image side by side: boxes, detections, the detections that agree with a box, and the disagreements."""

    boxes: tuple[LabelledBox, ...]
    detections: tuple[Detection, ...]
    agreed: tuple[tuple[str, float], ...]
    disagreements: tuple[Disagreement, ...]


def compare(boxes: Sequence[LabelledBox], detections: Sequence[Detection]) -> View:
    """Label and model side by side; detections reach down to a low confidence, under the labels' names.

    The surer detection speaks first. What lies on a box that a surer one has spoken of says nothing new.
    """
    found = sorted(detections, key=lambda item: (-item.confidence, item.label, item.box.as_tuple()))
    overlaps = iou_matrix([box.box.as_tuple() for box in boxes], [item.box.as_tuple() for item in found])
    held = [_held(box, found, row) for box, row in zip(boxes, overlaps, strict=True)]
    free, agreed, others = set(range(len(boxes))), list[tuple[str, float]](), list[Disagreement]()
    for number, item in enumerate(found):
        place = _place(item, boxes, overlaps[:, number], free, held)
        if place is None:
            if overlaps[:, number].max(initial=0.0) < NEAR:
                others.append(Disagreement(OVERLOOKED, item.confidence, None, item))
            continue
        free.discard(place)
        overlap = float(overlaps[place, number])
        if overlap >= HERE and boxes[place].label == item.label:
            agreed.append((item.label, item.confidence))
        else:
            kind = SWAPPED if overlap >= HERE else MISPLACED
            others.append(Disagreement(kind, item.confidence - held[place], boxes[place], item, overlap if kind == MISPLACED else 0.0))
    others += [Disagreement(EXTRA, 1.0, boxes[place], None) for place in sorted(free)]
    told = tuple(_told(one, boxes, found) for one in others)
    return View(tuple(boxes), tuple(detections), tuple(agreed), told)


def _told(one: Disagreement, boxes: Sequence[LabelledBox], found: Sequence[Detection]) -> Disagreement:
    """With what else speaks for or against it."""
    place = one.seen.box if one.seen else one.box.box if one.box else None
    assert place is not None  # noqa: S101  a disagreement is about something
    there = iou_matrix([place.as_tuple()], [item.box.as_tuple() for item in found])[0]
    others = [item for item, overlap in zip(found, there, strict=True) if overlap >= SAME_PLACE and item is not one.seen]
    covered = iou_matrix([place.as_tuple()], [box.box.as_tuple() for box in boxes])[0]
    told = replace(
        one,
        rival=_surest(item.confidence for item in others if item.label != one.label),
        again=_surest(item.confidence for item in others if item.label == one.label),
        covered=float(covered.max(initial=0.0)),
    )
    return _about(told, one.box, found) if one.box else told


def _about(one: Disagreement, box: LabelledBox, found: Sequence[Detection]) -> Disagreement:
    """With what the model says of the label's box."""
    overlaps = iou_matrix([box.box.as_tuple()], [item.box.as_tuple() for item in found])[0]
    rows = list(zip(found, map(float, overlaps), strict=True))
    return replace(
        one,
        held=_held(box, found, overlaps),
        near=_surest(item.confidence for item, overlap in rows if overlap >= HERE / 2),
        fit=_surest(overlap for item, overlap in rows if item.label == box.label and item.confidence >= FAINT),
    )


def _surest(values: Iterable[float]) -> float:
    return max(values, default=0.0)


def _held(box: LabelledBox, found: Sequence[Detection], overlaps: Any) -> float:
    """How sure the model is of the box as it is."""
    return max(
        (item.confidence for item, overlap in zip(found, overlaps, strict=True) if overlap >= HERE and item.label == box.label), default=0.0
    )


def _place(item: Detection, boxes: Sequence[LabelledBox], overlaps: Any, free: set[int], held: Sequence[float]) -> int | None:
    """The free box that a detection speaks of: the one at its place, else one of its class beside it that it is surer of."""
    here = [number for number in free if overlaps[number] >= HERE]
    beside = [
        number for number in free if overlaps[number] >= NEAR and boxes[number].label == item.label and held[number] < item.confidence
    ]
    return max(here or beside, key=lambda number: (boxes[number].label == item.label, overlaps[number], -number), default=None)
