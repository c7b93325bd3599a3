"""How far a label is to be doubted, by what a model that was not trained on it sees: pure.

After ObjectLab (Tkachenko, Thyagarajan, Mueller: "ObjectLab: Automated Diagnosis of Mislabeled Images in Object Detection Data", 2023,
arXiv:2309.00832), which asks of each image whether a box was overlooked, is badly located, or has a swapped class, and takes a model's
confidence of 0.95 as given. Small models are seldom that sure, and of one class surer than of another. So what a disagreement means is
learnt here: where detections of a class and confidence mostly agree with people, and hardly ever disagree in this way, the disagreement
is likely the person's error; where they often do, it is the model's. An image is as good as its worst box, where ObjectLab averages, for
one wrong box among many is what is looked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import Box, iou_matrix

Floats = npt.NDArray[np.float64]

OVERLOOKED, MISPLACED, SWAPPED, EXTRA = KINDS = ("overlooked", "misplaced", "swapped", "extra")
HERE, NEAR = 0.55, 0.1  # IoU from which a detection is at a box's place, and from which it is beside it
ERRORS = 0.01  # share of boxes that people get wrong in one of the ways: what is expected before anything is seen
WAYS = 3  # in which a detection may disagree
OLD = 1.0  # disagreements that older knowledge counts like: what confidences say for all classes together, and these for each
MOST = 5  # faults that are kept of a label
LEAST = 0.01  # fainter ones are not worth a word
NONE = np.empty(0)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One way in which a model's view of an image is not the label's. `strength` (0–1): how much surer it is than of the label.

    `box` is None where the label has none, `seen` where the model sees nothing; `iou` is how far the two are one.
    """

    kind: str
    strength: float
    box: LabelledBox | None
    seen: Detection | None
    iou: float = 0.0

    @property
    def label(self) -> str:
        """The class that it is about: what the model sees, else what the label says."""
        return self.seen.label if self.seen else self.box.label if self.box else ""


@dataclass(frozen=True, slots=True)
class View:
    """Label and model of one image side by side: the detections that agree with a box, and the disagreements."""

    agreed: tuple[tuple[str, float], ...]
    disagreements: tuple[Disagreement, ...]


@dataclass(frozen=True, eq=False)
class Experience:
    """What a model's agreements and disagreements meant so far, on labels that it was not trained on, by class; None is all classes.

    `agreed`: (N,) confidences. `others`, by kind and class: (N, 2) strengths and IoUs.
    """

    agreed: Mapping[str | None, Floats]
    others: Mapping[tuple[str, str | None], Floats]

    def likely(self, found: Disagreement) -> float:
        """How likely the label is wrong there (0–1): as many errors are to be expected for each such disagreement that was seen."""
        if found.kind == EXTRA:
            return self._unseen(found.label)
        known = WAYS * found.strength / max(1 - found.strength, 1e-6)  # what the confidence itself says
        room = _room(found)
        for label in (None, found.label):
            known = room * (self._agreed(label, found) + OLD * known) / (self._others(label, found) + OLD * room)
        expected = ERRORS * known
        return expected / (1 + expected)

    def _agreed(self, label: str | None, found: Disagreement) -> int:
        return int((self.agreed.get(label, NONE) >= found.strength).sum())

    def _others(self, label: str | None, found: Disagreement) -> int:
        strengths, overlaps = self.others.get((found.kind, label), NONE.reshape(0, 2)).T
        return int(((strengths >= found.strength) & (overlaps <= found.iou)).sum())

    def _unseen(self, label: str) -> float:
        """Of a box at whose place nothing is seen: against how often right boxes are not seen either."""
        unseen, seen = len(self.others.get((EXTRA, label), NONE)), len(self.agreed.get(label, NONE))
        missed = (unseen + OLD) / (unseen + seen + 2 * OLD)
        return ERRORS / (ERRORS + missed)


@dataclass(frozen=True, slots=True)
class Fault:
    """What speaks against a label, and how likely it is wrong there (`score`, 0–1). `label` and `box` (pixels) are the label's.

    They are None of a box that was overlooked; `seen` and `seen_box` are what the model sees, None where it sees nothing.
    """

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


def learn(views: Iterable[View]) -> Experience:
    """What the disagreements of these images mean together. A few wrong labels among them do no harm: they are what is rare."""
    agreed, others = defaultdict[str | None, list[float]](list), defaultdict[tuple[str, str | None], list[tuple[float, float]]](list)
    for view in views:
        for label, confidence in view.agreed:
            agreed[label].append(confidence)
            agreed[None].append(confidence)
        for one in view.disagreements:
            for about in (one.label, None):
                others[one.kind, about].append((one.strength, one.iou))
    return Experience({label: np.array(rows) for label, rows in agreed.items()}, {key: np.array(rows) for key, rows in others.items()})


def doubt(view: View, experience: Experience) -> Doubt:
    """Judge an image's label by what is known of the model."""
    faults = sorted((_fault(one, experience.likely(one)) for one in view.disagreements), key=lambda fault: -fault.score)
    worst = faults[0].score if faults else 0.0
    return Doubt(round(1 - worst, 5), tuple(fault for fault in faults if fault.score >= LEAST)[:MOST])


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
    return View(tuple(agreed), tuple(others))


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


def _room(found: Disagreement) -> float:
    """The share of misplaced boxes that lie at least so far away, if each distance is as likely as the others."""
    return float(np.clip((found.iou - NEAR) / (HERE - NEAR), 0.05, 1.0)) if found.kind == MISPLACED else 1.0


def _fault(found: Disagreement, likely: float) -> Fault:
    box, seen = found.box, found.seen
    return Fault(
        found.kind,
        round(likely, 5),
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
