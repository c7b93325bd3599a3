"""How far a label is to be doubted, by what a model that was not trained on it sees: pure.

After ObjectLab (Tkachenko, Thyagarajan, Mueller: "ObjectLab: Automated Diagnosis of Mislabeled Images in Object Detection Data", 2023,
arXiv:2309.00832), which asks of each image whether a box was overlooked, is badly located, or has a swapped class, and takes a model's
confidence of 0.95 as given. Small models are seldom that sure; what their disagreements mean is learnt (`sync.doubts.experience`). An image
is as good as its worst box, where ObjectLab averages, for one wrong box among many is what is looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelwheel.vision.geometry import Box
from sync.doubts.compare import EXTRA, MISPLACED, OVERLOOKED, SWAPPED, Disagreement, View
from sync.doubts.experience import Experience, learn

MOST = 5  # faults that are kept of a label
LEAST = 0.01  # fainter ones are not worth a word
FOLDS = 3  # no label says what disagreements with itself mean


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


def doubt_each(due: Mapping[int, View], known: Mapping[int, View]) -> dict[int, Doubt]:
    """Judge labels, each by what is known of the model from others: those `known`, and what else is due. By the labels' ids."""
    found, everything = dict[int, Doubt](), {**known, **due}
    for fold in range(FOLDS):
        mine = {key: view for key, view in due.items() if key % FOLDS == fold}
        if mine:
            experience = learn(view for key, view in sorted(everything.items()) if key % FOLDS != fold)
            found |= dict(zip(mine, doubt_all(list(mine.values()), experience), strict=True))
    return found


def doubt(view: View, experience: Experience) -> Doubt:
    """Judge an image's label by what is known of the model."""
    return doubt_all([view], experience)[0]


def doubt_all(views: Sequence[View], experience: Experience) -> list[Doubt]:
    """`doubt` of many, at one call of the classifier."""
    likely = iter(experience.likely([one for view in views for one in view.disagreements]))
    return [_doubt([(one, next(likely)) for one in view.disagreements]) for view in views]


def _doubt(judged: Sequence[tuple[Disagreement, float]]) -> Doubt:
    faults = [_fault(one, share) for one, share in sorted(judged, key=lambda pair: -pair[1])]
    worst = faults[0].score if faults else 0.0
    return Doubt(round(1 - worst, 5), tuple(fault for fault in faults if fault.score >= LEAST)[:MOST])


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
