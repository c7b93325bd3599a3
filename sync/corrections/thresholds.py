"""From which confidence each class is best shown to people: where the expected seconds of a review are fewest. Pure.

A false box that is shown must be deleted, one that is not shown must be drawn. What would have been shown at any threshold is known from
the stored detections, which reach down to 0.05, and what was right from the approved boxes of images that the model was not trained on.

A threshold that is best on the images that chose it flatters itself. So each of many resamples of the images (and of the annotations
that seconds are learnt from) chooses anew, and what it saves is counted on the images that it left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import iou_matrix
from sync.corrections.correct import ADDED, DELETED, KEPT, MOVED, RELABELLED
from sync.corrections.seconds import ACTS, Timed, fit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FOUND = 0.5  # IoU from which a detection stands for a box
NEAR = 0.75  # IoU from which nobody moves it
GRID = np.round(np.arange(5, 100) / 100, 2)  # thresholds that may be suggested
RESAMPLES = 300
CERTAIN = 0.9  # of the intervals
FATES = (KEPT, MOVED, RELABELLED, DELETED)
LEAST_BOXES, LEAST_IMAGES = 20, 20  # of a class, and in all, below which nothing is suggested


@dataclass(frozen=True, slots=True)
class Seen:
    """An image: its approved boxes, and what the model found, under the labels that it is shown by."""

    boxes: Sequence[LabelledBox]
    detections: Sequence[Detection]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the interval that holds it with 90 %."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return {"value": round(self.value, 3), "low": round(self.low, 3), "high": round(self.high, 3)}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A class: its threshold as it is and as it were best, and the seconds that this saves in an image.

    `verdict`: better (it saves in 95 of 100 resamples), as good (nobody can tell), or too little data. Where it is not better, `suggested` is
    the current one, and `saves` what the best other one would save, as far as that can be told.
    """

    label: str
    current: float
    suggested: float
    saves: Estimate
    boxes: int
    verdict: str


@dataclass(frozen=True, slots=True)
class Suggestions:
    """All classes; the seconds of an image now, and with what is better; the seconds of each act, and on how much all this stands."""

    classes: tuple[Suggestion, ...]
    now: Estimate
    then: Estimate
    acts: Mapping[str, Estimate]
    images: int
    annotations: int


@dataclass(frozen=True, eq=False)
class Table:
    """All detections of a class by falling confidence, (N,) each: number of the image, confidence, number of the fate in `FATES`."""

    image: Ints
    confidence: Floats
    fate: Ints


def fates(seen: Seen, label: str) -> list[tuple[float, str]]:
    """What would become of each detection of a label if it were shown: (confidence, outcome), by falling confidence.

    The stronger takes a box before the weaker, so a threshold changes no fate. A detection on a box of another class is relabelled if no
    detection of that class is there.
    """
    mine = sorted((item for item in seen.detections if item.label == label), key=lambda item: -item.confidence)
    hits = _hits(mine, [box for box in seen.boxes if box.label == label])
    orphans = _orphans(seen, label)
    strays = _hits([item for item, hit in zip(mine, hits, strict=True) if hit is None], orphans) if orphans else []
    rest = iter(strays)
    return [
        (item.confidence, (KEPT if hit >= NEAR else MOVED) if hit is not None else RELABELLED if next(rest, None) is not None else DELETED)
        for item, hit in zip(mine, hits, strict=True)
    ]


def suggest(images: Sequence[Seen], timed: Sequence[Timed], current: Mapping[str, float], seed: int) -> Suggestions:
    """The best threshold of each label of `current`, and what it saves. `timed`: see `sync.corrections.seconds.at_work`."""
    tables = {label: tabulate(images, label) for label in current}
    boxes = {label: sum(box.label == label for seen in images for box in seen.boxes) for label in current}
    counts = np.array([len(seen.boxes) for seen in images], np.float64)
    rng, draws = np.random.default_rng(seed), []
    for _ in range(RESAMPLES if len(images) >= LEAST_IMAGES else 0):
        weights = np.bincount(rng.integers(len(images), size=len(images)), minlength=len(images)).astype(np.float64)
        again = [timed[number] for number in rng.integers(len(timed), size=len(timed))] if timed else []
        draws.append((weights, fit(again)))
    acts = fit(timed)
    classes = tuple(_suggestion(label, tables[label], boxes[label], len(images), current[label], acts, draws) for label in current)
    better = {one.label: one.suggested for one in classes if one.verdict == "better"}
    now, then = (_seconds(tables, counts, {**current, **changes}, acts, draws) for changes in ({}, better))
    told = {act: _estimate(float(acts[n]), [draw[n] for _, draw in draws]) for n, act in enumerate(ACTS)}
    return Suggestions(classes, now, then, told, len(images), len(timed))


def worth(acts: Floats) -> dict[str, float]:
    """Seconds that a shown box saves, by its fate: the drawing, less what it takes to mend it. A false one costs."""
    act = dict(zip(ACTS, acts.tolist(), strict=True))
    return {**{fate: act[ADDED] - act[fate] for fate in (KEPT, MOVED, RELABELLED)}, DELETED: -act[DELETED]}


def saved(table: Table, thresholds: Floats, weights: Floats, acts: Floats) -> Floats:
    """Seconds saved in all by showing the detections of a class from each threshold on, against showing none; images weigh as told."""
    values = worth(acts)
    each = weights[table.image] * np.array([values[fate] for fate in FATES])[table.fate]
    running = np.concatenate([[0.0], np.cumsum(each)])
    return np.asarray(running[np.searchsorted(-table.confidence, -thresholds, side="right")], np.float64)


def tabulate(images: Sequence[Seen], label: str) -> Table:
    rows = [(number, confidence, FATES.index(fate)) for number, seen in enumerate(images) for confidence, fate in fates(seen, label)]
    rows.sort(key=lambda row: -row[1])
    image, confidence, fate = list(zip(*rows, strict=True)) or [(), (), ()]
    return Table(np.array(image, np.int64), np.array(confidence, np.float64), np.array(fate, np.int64))


def _suggestion(
    label: str, table: Table, boxes: int, images: int, current: float, acts: Floats, draws: Sequence[tuple[Floats, Floats]]
) -> Suggestion:
    if boxes < LEAST_BOXES or not draws:
        return Suggestion(label, current, current, Estimate(0.0, 0.0, 0.0), boxes, "too little data")
    best = _best(table, np.ones(images), acts, current)
    gains = [_gain(table, weights, drawn, current) for weights, drawn in draws]
    saves = _estimate(float(np.mean(gains)), gains)
    if saves.low <= 0 or best == current:
        return Suggestion(label, current, current, saves, boxes, "as good")
    return Suggestion(label, current, best, saves, boxes, "better")


def _best(table: Table, weights: Floats, acts: Floats, current: float) -> float:
    """The threshold that saves most; of equal ones the nearest to the current."""
    thresholds = np.append(GRID, current)
    gains = saved(table, thresholds, weights, acts)
    best = thresholds[gains >= gains.max() - 1e-9]
    return float(best[np.abs(best - current).argmin()])


def _gain(table: Table, weights: Floats, acts: Floats, current: float) -> float:
    """Seconds an image that the choice of a resample saves on the images that it left out."""
    others = (weights == 0).astype(np.float64)
    chosen = np.array([_best(table, weights, acts, current), current])
    after, before = saved(table, chosen, others, acts)
    return float((after - before) / max(others.sum(), 1.0))


def _seconds(
    tables: Mapping[str, Table], boxes: Floats, thresholds: Mapping[str, float], acts: Floats, draws: Sequence[tuple[Floats, Floats]]
) -> Estimate:
    """Expected seconds of an image: looking at it, and drawing all its boxes, less what the shown ones save."""

    def mean(weights: Floats, drawn: Floats) -> float:
        spared = sum(float(saved(table, np.array([thresholds[label]]), weights, drawn)[0]) for label, table in tables.items())
        by_hand = float(drawn[ACTS.index(ADDED)] * (weights @ boxes))
        return float(drawn[ACTS.index("image")]) + (by_hand - spared) / max(float(weights.sum()), 1.0)

    return _estimate(mean(np.ones(len(boxes)), acts), [mean(weights, drawn) for weights, drawn in draws])


def _estimate(value: float, draws: Sequence[float]) -> Estimate:
    if not draws:
        return Estimate(value, value, value)
    low, high = np.quantile(draws, ((1 - CERTAIN) / 2, (1 + CERTAIN) / 2))
    return Estimate(value, float(low), float(high))


def _hits(detections: Sequence[Detection], boxes: Sequence[LabelledBox]) -> list[float | None]:
    """IoU of each detection with the free box that it overlaps most, if it stands for it; the earlier takes before the later."""
    overlaps = iou_matrix([item.box.as_tuple() for item in detections], [box.box.as_tuple() for box in boxes])
    found: list[float | None] = []
    for row in overlaps:
        best = int(row.argmax()) if row.size else -1
        hit = best >= 0 and row[best] >= FOUND
        found.append(float(row[best]) if hit else None)
        if hit:
            overlaps[:, best] = -1
    return found


def _orphans(seen: Seen, label: str) -> list[LabelledBox]:
    """Boxes of other labels for which no detection of their own label stands."""
    found = []
    for other in {box.label for box in seen.boxes} - {label}:
        boxes = [box for box in seen.boxes if box.label == other]
        overlaps = iou_matrix(
            [box.box.as_tuple() for box in boxes], [item.box.as_tuple() for item in seen.detections if item.label == other]
        )
        found += [box for box, row in zip(boxes, overlaps, strict=True) if row.max(initial=0.0) < FOUND]
    return sorted(found, key=lambda box: box.box.as_tuple())
