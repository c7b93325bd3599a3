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
RECALLS = np.linspace(0, 1, 101)
SLACK = 1e-9  # weighted recalls are sums of shares: 0.3 may read 0.30000000000000004


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
    return np.stack([_class_precision(matches, class_id, weights) for class_id in range(len(matches.truths))], axis=1)


def map50(matches: Matches, weights: Floats) -> Floats:
    """Mean AP50 over the classes that have true boxes, (R,), for image weights (R, N); 0 where none has."""
    values = average_precision(matches, weights)
    present = ~np.isnan(values)
    return np.asarray(np.where(present, values, 0).sum(axis=1) / np.maximum(present.sum(axis=1), 1), np.float64)


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


def _class_precision(matches: Matches, class_id: int, weights: Floats) -> Floats:
    mine = matches.label == class_id
    share, hit = weights[:, matches.image[mine]], matches.hit[mine]
    positives = weights @ matches.truths[class_id]
    if not share.shape[1]:
        return np.where(positives > 0, 0.0, np.nan)
    hits, seen = np.cumsum(share * hit, axis=1), np.cumsum(share, axis=1)
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = hits / np.maximum(positives, SLACK)[:, None]
    return np.where(positives > 0, _interpolated(np.minimum(recall, 1.0), envelope), np.nan)


def _interpolated(recall: Floats, envelope: Floats) -> Floats:
    """Mean of the envelope at COCO's 101 recalls. Rows are laid end to end, each 2 above the last, to search all of them at once."""
    rows, length = recall.shape
    shift = 2.0 * np.arange(rows)[:, None]
    places = (
        np.searchsorted((recall + shift).ravel(), (RECALLS + shift - SLACK).ravel()).reshape(rows, -1) - length * np.arange(rows)[:, None]
    )
    padded = np.concatenate([envelope, np.zeros((rows, 1))], axis=1)
    return np.asarray(np.take_along_axis(padded, np.clip(places, 0, length), axis=1).mean(axis=1), np.float64)
