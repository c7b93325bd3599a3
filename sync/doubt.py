"""How far a label is to be doubted, by what a model that was not trained on it sees: pure.

After ObjectLab (Tkachenko, Thyagarajan, Mueller: "ObjectLab: Automated Diagnosis of Mislabeled Images in Object Detection Data", 2023,
arXiv:2309.00832), which asks of each image whether a box was overlooked, is badly located, or has a swapped class. What differs: a
detection speaks with its confidence instead of only above 0.95, because small models are seldom that sure; evidence that the label is
right (a detection of the same class at the same place) takes away what speaks against it; and an image is as good as its worst box,
where ObjectLab averages, for one wrong box among seven is what is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import Box, iou_matrix

Floats = npt.NDArray[np.float64]

OVERLOOKED, MISPLACED, SWAPPED, EXTRA = KINDS = ("overlooked", "misplaced", "swapped", "extra")
HERE, NEAR = 0.55, 0.1  # IoU from which a detection is at a box's place, and from which it is beside it
STRENGTH = {OVERLOOKED: 1.0, MISPLACED: 1.0, SWAPPED: 1.0, EXTRA: 0.5}


@dataclass(frozen=True, slots=True)
class Fault:
    """What speaks against a label: `score` 0 (nothing) to 1. `label` and `box` (pixels) are the label's, None of a box that was overlooked;
    `seen` and `seen_box` are what the model sees, None where it sees nothing."""

    kind: str
    score: float
    label: str | None
    box: list[float] | None
    seen: str | None
    seen_box: list[float] | None
    confidence: float


@dataclass(frozen=True, slots=True)
class Doubt:
    """`score` is 0 (surely wrong) to 1; the faults are what speaks against the label, the strongest first."""

    score: float
    faults: tuple[Fault, ...]


MOST = 5  # faults that are kept of a label
LEAST = 0.1  # weaker ones are not worth a word


def doubt(boxes: Sequence[LabelledBox], detections: Sequence[Detection]) -> Doubt:
    """Judge an image's label by detections down to a low confidence, under the labels' names."""
    found = sorted(_faults(boxes, detections), key=lambda fault: -fault.score)
    worst = found[0].score if found else 0.0
    return Doubt(round(1 - worst, 5), tuple(fault for fault in found if fault.score >= LEAST)[:MOST])


def _faults(boxes: Sequence[LabelledBox], detections: Sequence[Detection]) -> Iterator[Fault]:
    overlaps = iou_matrix([box.box.as_tuple() for box in boxes], [item.box.as_tuple() for item in detections])
    sure = np.array([item.confidence for item in detections], np.float64)
    same = np.array([[box.label == item.label for item in detections] for box in boxes], bool).reshape(overlaps.shape)
    here = overlaps >= HERE
    right = np.where(here & same, sure, 0.0)  # what speaks for each box
    held, free = right.max(axis=1, initial=0.0), ~here.any(axis=0)
    for number, box in enumerate(boxes):
        yield from _of_box(box, detections, held[number], here[number] & ~same[number], sure)
        yield from _misplaced(box, detections, held[number], (overlaps[number] >= NEAR) & same[number] & free, sure)
    for number in np.flatnonzero(~(overlaps >= NEAR).any(axis=0)):
        yield _fault(OVERLOOKED, sure[number], None, detections[number])


def _of_box(box: LabelledBox, detections: Sequence[Detection], held: float, other: npt.NDArray[np.bool_], sure: Floats) -> Iterator[Fault]:
    if other.any():
        strongest = int(np.where(other, sure, -1).argmax())
        yield _fault(SWAPPED, sure[strongest] * (1 - held), box, detections[strongest])
    yield _fault(EXTRA, 1 - max(held, sure[other].max(initial=0.0)), box, None)


def _misplaced(
    box: LabelledBox, detections: Sequence[Detection], held: float, beside: npt.NDArray[np.bool_], sure: Floats
) -> Iterator[Fault]:
    if beside.any():
        strongest = int(np.where(beside, sure, -1).argmax())
        yield _fault(MISPLACED, sure[strongest] * (1 - held), box, detections[strongest])


def _fault(kind: str, score: float, box: LabelledBox | None, seen: Detection | None) -> Fault:
    return Fault(
        kind,
        round(float(score) * STRENGTH[kind], 5),
        box.label if box else None,
        _rounded(box.box) if box else None,
        seen.label if seen else None,
        _rounded(seen.box) if seen else None,
        seen.confidence if seen else 0.0,
    )


def _rounded(box: Box) -> list[float]:
    return [round(value, 1) for value in box.as_tuple()]


def in_words(faults: Sequence[Mapping[str, Any]]) -> str:
    """The strongest fault as a person reads it: what, and where (the middle, in pixels)."""
    if not faults:
        return "nothing speaks against it"
    fault = faults[0]
    what = f"{fault['seen']} ({fault['confidence']:.2f})"
    x1, y1, x2, y2 = fault["box"] or fault["seen_box"]
    where = f"at {round((x1 + x2) / 2)}, {round((y1 + y2) / 2)}"
    return {
        OVERLOOKED: f"the model sees {what} {where}, where no box is",
        MISPLACED: f"the model sees {what} beside the box {where}",
        SWAPPED: f"the model sees {what} {where}, where the label says {fault['label']}",
        EXTRA: f"the model sees nothing {where}, where the label says {fault['label']}",
    }[fault["kind"]]
