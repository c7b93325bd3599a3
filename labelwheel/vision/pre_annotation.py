"""What an annotator is shown at first of a task: every image and every model that the label config speaks of, in one prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelwheel.vision.detection import Detection
from labelwheel.vision.label_config import ControlTag, Slot
from labelwheel.vision.regions import prediction_score, to_regions

View = tuple[str, Slot]  # where a task's data holds an image, and which model looks at it


@dataclass(frozen=True, slots=True)
class Sight:
    """What one model found in one image, and the image's size in pixels."""

    detections: Sequence[Detection]
    width: int
    height: int


def tags_by_view(tags: Sequence[ControlTag]) -> dict[View, list[ControlTag]]:
    """The tags that are filled from one image by one model, in their order."""
    views: dict[View, list[ControlTag]] = {}
    for tag in tags:
        views.setdefault((tag.value_key, tag.slot), []).append(tag)
    return views


def pre_annotation(sights: Mapping[View, Sight], tags: Sequence[ControlTag], served_as: str, threshold: float) -> dict[str, Any]:
    """A prediction as Label Studio stores it. It is as sure as the least sure of its views; a tag without a sight shows nothing.

    `sights` holds at least one. Detections are shown from `threshold` on, where no tag or label has its own.
    """
    views = tags_by_view(tags)
    looks = [(seen, views[view]) for view, seen in sights.items()]
    regions = (to_regions(seen.detections, shown, seen.width, seen.height, threshold) for seen, shown in looks)
    return {
        "model_version": served_as,
        "score": min(prediction_score(seen.detections, shown, threshold) for seen, shown in looks),
        "result": [region for found in regions for region in found],
    }
