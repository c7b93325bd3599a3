"""Today's classes as a view: what a model detects under the names that it was trained with, and labels that a label config still has. Pure.

A model need not be trained again because a class got another name. What it saw is stored as it said it, and is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.detector import Detected, Detector
from labelwheel.vision.geometry import iou_matrix
from labelwheel.vision.image import Pixels
from labelwheel.vision.label_config import ControlTag, LabelRule

IOU = 0.7  # as ultralytics' selection: of boxes of one class that overlap more, the surest stays


@dataclass(frozen=True, eq=False)
class Seeing:
    """A detector whose detections bear today's names."""

    detector: Detector
    classes: ClassMap

    def detect(self, image_bgr: Pixels) -> Detected:
        """As `Detector.detect`."""
        found = self.detector.detect(image_bgr)
        return Detected(seen_as(found.detections, self.classes), found.embedding)


def seen_as(detections: Sequence[Detection], classes: ClassMap) -> list[Detection]:
    """The detections under today's names, by falling confidence; those of removed classes are left out.

    A label that the class map never had is somebody else's, and stays. Where classes were merged, an object that a model found as two of
    them is found once.
    """
    if not classes.changed:
        return list(detections)
    named = [(item, classes.today(item.label)) for item in detections]
    found = [item if label == item.label else replace(item, label=label) for item, label in named if label is not None]
    merged = {classes.read(classes.labels[class_id]) for class_id in classes.retired}
    return [item for number, item in enumerate(found) if item.label not in merged or not _hidden(item, found[:number])]


def drawn_as(boxes: Iterable[LabelledBox], classes: ClassMap) -> list[LabelledBox]:
    """What a person drew, under today's names; boxes of removed classes are left out. Strangers stay."""
    named = ((box, classes.today(box.label)) for box in boxes)
    return [replace(box, label=label) for box, label in named if label is not None]


def labels_seen(labels: Iterable[str], classes: ClassMap) -> list[str]:
    """Labels of a model under today's names, each once."""
    return list(dict.fromkeys(label for label in map(classes.today, labels) if label is not None))


def shown_under(tags: Sequence[ControlTag], classes: ClassMap) -> list[ControlTag]:
    """The tags, so that a class under its new name is shown by a label that still has an old one: Label Studio keeps labels that are drawn."""
    return [_shown_under(tag, classes) for tag in tags] if classes.changed else list(tags)


def _shown_under(tag: ControlTag, classes: ClassMap) -> ControlTag:
    if not tag.trains:
        return tag
    claimed = {name.casefold() for name in chain(tag.labels, *(rule.predicted for rule in tag.rules))}
    rules = {rule.label: rule for rule in tag.rules}
    for label in tag.labels:
        now = classes.read(label)
        if now is not None and now.casefold() not in claimed:
            claimed.add(now.casefold())
            rule = rules.get(label, LabelRule(label))
            rules[label] = replace(rule, predicted=(*rule.predicted, now))
    return replace(tag, rules=tuple(rules.values()))


def _hidden(item: Detection, surer: Sequence[Detection]) -> bool:
    rivals = [other.box.as_tuple() for other in surer if other.label == item.label and not other.whole]
    return bool(rivals) and not item.whole and bool(np.max(iou_matrix([item.box.as_tuple()], rivals)) > IOU)
