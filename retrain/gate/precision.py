"""Average precision at IoU 0.5, as COCO counts it, for many weightings of the images at once: what a bootstrap needs. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import iou_matrix

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

IOU = 0.5
MOST = 100  # detections of an image and class that COCO looks at
RECALLS = 100  # COCO reads the curve at so many steps of recall, and at 0
SLACK = 1e-9  # weighted recalls are sums of shares: 0.3 may read 0.30000000000000004
CELLS = 60_000  # detections × weightings worked at a time: what a core's cache holds


@dataclass(frozen=True, eq=False)
class Matches:
    """What a model hit: D detections by falling confidence on N images, C classes."""

    truths: Ints  # (C, N) true boxes
    image: Ints  # (D,) number of the image
    label: Ints  # (D,) number of the class
    hit: npt.NDArray[np.bool_]  # (D,)

    @property
    def images(self) -> int:
        return int(self.truths.shape[1])

    def of_images(self, chosen: npt.NDArray[np.bool_]) -> Matches:
        """On some of the images, (N,), in their order."""
        mine = chosen[self.image]
        return Matches(self.truths[:, chosen], (np.cumsum(chosen) - 1)[self.image[mine]], self.label[mine], self.hit[mine])


def match(truths: Sequence[Sequence[LabelledBox]], found: Sequence[Sequence[Detection]], labels: Sequence[str]) -> Matches:
    """Match the detections of each image to its true boxes. Detections of other labels are of no account."""
    counts = np.zeros((len(labels), len(truths)), np.int64)
    rows: list[tuple[float, int, int, bool]] = []
    for number, (boxes, detections) in enumerate(zip(truths, found, strict=True)):
        for class_id, label in enumerate(labels):
            mine = np.array([box.box.as_tuple() for box in boxes if box.label == label]).reshape(-1, 4)
            theirs = sorted((item for item in detections if item.label == label), key=lambda item: -item.confidence)[:MOST]
            counts[class_id, number] = len(mine)
            hits = _hits(mine, np.array([item.box.as_tuple() for item in theirs]).reshape(-1, 4))
            rows += [(item.confidence, number, class_id, hit) for item, hit in zip(theirs, hits, strict=True)]
    rows.sort(key=lambda row: -row[0])
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return Matches(counts, np.array(columns[1], np.int64), np.array(columns[2], np.int64), np.array(columns[3], np.bool_))


def average_precision(matches: Matches, weights: Floats) -> Floats:
    """AP50 by weighting and class, (R, C), for image weights (R, N); nan where a class has no true box."""
    drawn = np.ascontiguousarray(weights.T)  # weightings side by side: sums along detections then run over whole rows
    return np.stack([_class_precision(matches, class_id, drawn) for class_id in range(len(matches.truths))], axis=1)


def map50(matches: Matches, weights: Floats) -> Floats:
    """Mean AP50 over the classes that have true boxes, (R,), for image weights (R, N); 0 where none has."""
    return mean(average_precision(matches, weights))


def mean(precisions: Floats) -> Floats:
    """mAP, (R,), from AP by weighting and class, (R, C)."""
    present = ~np.isnan(precisions)
    return np.asarray(np.where(present, precisions, 0).sum(axis=1) / np.maximum(present.sum(axis=1), 1), np.float64)


def _hits(truths: Floats, detections: Floats) -> list[bool]:
    """Each detection takes the free true box that it overlaps most, if by half at least."""
    overlaps = iou_matrix(detections, truths)
    hits = []
    for row in overlaps:
        best = int(row.argmax()) if row.size else -1
        hits.append(best >= 0 and row[best] >= IOU)
        if hits[-1]:
            overlaps[:, best] = -1
    return hits


def _class_precision(matches: Matches, class_id: int, drawn: Floats) -> Floats:
    """AP50 of a class, (R,), for weights (N, R)."""
    mine = matches.label == class_id
    image, hit = matches.image[mine], matches.hit[mine].astype(np.float64)[:, None]
    positives = matches.truths[class_id] @ drawn
    found = np.zeros(len(positives))
    step = max(1, CELLS // max(len(image), 1))
    for start in range(0, len(positives) if len(image) else 0, step):
        some = slice(start, start + step)
        found[some] = _area(drawn[image, some], hit, np.maximum(positives[some], SLACK))
    return np.where(positives > 0, found, np.nan)


def _area(share: Floats, hit: Floats, positives: Floats) -> Floats:
    """Mean of the precision that is reached at each of COCO's recalls or beyond, (R,). `share` (D, R) is how often each detection counts."""
    hits, seen = np.cumsum(share * hit, axis=0), np.cumsum(share, axis=0)
    precision = np.divide(hits, np.maximum(seen, SLACK, out=seen), out=seen)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    steps = np.floor(np.minimum(np.divide(hits, positives, out=hits), 1) * RECALLS + RECALLS * SLACK)  # the recalls reached with each
    return np.asarray((envelope[0] + np.einsum("dr,dr->r", envelope[1:], np.diff(steps, axis=0)) + envelope[0] * steps[0]) / (RECALLS + 1))
