"""What people look at besides numbers: precision over recall, and which class is taken for which. Pure; no verdict rests on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import iou_matrix
from retrain.gate.precision import IOU, Floats, Ints, Matches

SHOWN = 0.25  # confidence from which a detection counts in a confusion matrix


def precision_recall(matches: Matches, class_id: int) -> tuple[Floats, Floats]:
    """Recall and precision of a class, (D,) each, detection by detection from the most confident down; empty where there is no true box."""
    mine, boxes = matches.label == class_id, int(matches.truths[class_id].sum())
    if not boxes:
        return np.empty(0), np.empty(0)
    hits = np.cumsum(matches.hit[mine])
    return hits / boxes, hits / np.arange(1, len(hits) + 1)


def confusion(truths: Sequence[Sequence[LabelledBox]], found: Sequence[Sequence[Detection]], labels: Sequence[str]) -> Ints:
    """Counts (C + 1, C + 1): what a box is by what it was taken for. The last row is boxes that are none, the last column overlooked ones.

    Boxes are paired by overlap alone, the greatest first, if it is half at least.
    """
    counts = np.zeros((len(labels) + 1, len(labels) + 1), np.int64)
    for drawn, seen in zip(truths, found, strict=True):
        true = [box for box in drawn if box.label in labels]
        shown = [item for item in seen if item.confidence >= SHOWN and item.label in labels]
        pairs = _pairs([box.box.as_tuple() for box in true], [item.box.as_tuple() for item in shown])
        for row, column in pairs:
            counts[labels.index(true[row].label), labels.index(shown[column].label)] += 1
        for row in set(range(len(true))) - {row for row, _ in pairs}:
            counts[labels.index(true[row].label), -1] += 1
        for column in set(range(len(shown))) - {column for _, column in pairs}:
            counts[-1, labels.index(shown[column].label)] += 1
    return counts


def _pairs(true: Sequence[tuple[float, ...]], shown: Sequence[tuple[float, ...]]) -> list[tuple[int, int]]:
    overlaps = iou_matrix(np.array(true).reshape(-1, 4), np.array(shown).reshape(-1, 4)).copy()
    pairs = []
    while overlaps.size and overlaps.max() >= IOU:
        row, column = (int(place) for place in np.unravel_index(overlaps.argmax(), overlaps.shape))
        pairs.append((row, column))
        overlaps[row, :] = overlaps[:, column] = -1
    return pairs
