"""Whether several annotators drew the same, and what they drew together: pure.

Boxes of the same label are matched by their overlap, the closest first, each with at most one of every annotator. They agree
when every box is matched by all, each with each. What they say together is the median of each edge: among two their mean, among many no
single slip moves it, and equal boxes give themselves to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple

from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box

ORIGIN = "consensus"


class _Drawn(NamedTuple):
    annotator: int
    number: int
    box: LabelledBox


def consensus(drawings: Sequence[Sequence[LabelledBox]], iou: float) -> list[LabelledBox] | None:
    """The boxes that all drawings have in common, or None when one has a box more, less, elsewhere or of another label.

    `iou` (0–1) is the least overlap of any two boxes of one thing. The order of the drawings, and of their boxes, does not matter.
    """
    if len({len(boxes) for boxes in drawings}) > 1:
        return None
    clusters = _clusters([_Drawn(who, number, box) for who, boxes in enumerate(drawings) for number, box in enumerate(boxes)], iou)
    if any(len(cluster) < len(drawings) for cluster in clusters):
        return None
    return sorted((_merged([drawn.box for drawn in cluster]) for cluster in clusters), key=_place)


def overlap(first: Box, second: Box) -> float:
    """Intersection over union, 0–1."""
    common = Box(max(first.x1, second.x1), max(first.y1, second.y1), min(first.x2, second.x2), min(first.y2, second.y2)).area
    union = first.area + second.area - common
    return common / union if union > 0 else 0.0


def _clusters(drawn: Sequence[_Drawn], iou: float) -> list[list[_Drawn]]:
    home = {_key(one): [one] for one in drawn}
    pairs = list(_pairs(drawn, iou))
    near = {frozenset((_key(first), _key(second))) for _, first, second in pairs}
    for _, first, second in sorted(pairs, key=lambda pair: pair[0]):
        left, right = home[_key(first)], home[_key(second)]
        if any(frozenset((_key(one), _key(other))) not in near for one in left for other in right):
            continue  # of one annotator, or too far from each other: a chain of small steps leads anywhere
        left.extend(right)
        home.update({_key(one): left for one in right})
    return list({id(cluster): cluster for cluster in home.values()}.values())


def _key(one: _Drawn) -> tuple[int, int]:
    return one.annotator, one.number


def _pairs(drawn: Sequence[_Drawn], iou: float) -> Iterator[tuple[tuple[object, ...], _Drawn, _Drawn]]:
    """Boxes that may be of one thing, with what they are sorted by: the overlap, then where they lie, never who drew them."""
    for first, second in combinations(drawn, 2):
        if first.annotator == second.annotator or first.box.label != second.box.label:
            continue
        shared = overlap(first.box.box, second.box.box)
        if shared >= iou:
            yield (-shared, *sorted((_place(first.box), _place(second.box)))), first, second


def _merged(boxes: Sequence[LabelledBox]) -> LabelledBox:
    edges = (median(values) for values in zip(*(box.box.as_tuple() for box in boxes), strict=True))
    return LabelledBox(boxes[0].label, Box(*edges), origin=ORIGIN)


def _place(box: LabelledBox) -> tuple[str, tuple[float, ...]]:
    return box.label, box.box.as_tuple()
