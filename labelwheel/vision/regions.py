"""Detections to Label Studio's regions, and what a person drew back to boxes.

Label Studio's `image_rotation` says how the view was turned while drawing; its editor turns the stage and not the regions,
so percentages stay those of the unturned, upright image and need no correction here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import Box, box_to_percent, enclosing, percent_to_corners
from labelwheel.vision.label_config import ControlTag

# Results that answer a question about the whole task: nobody drew them, so leaving them out loses no box.
NOT_DRAWN = frozenset({"choices", "textarea", "rating", "relation", "number", "taxonomy", "datetime", "pairwise", "ranker"})


@dataclass(frozen=True)
class Exclusion:
    """A drawn region that does not become a label, and why."""

    region_id: str
    reason: str


def to_regions(
    detections: Iterable[Detection], tags: Sequence[ControlTag], width: int, height: int, threshold: float
) -> list[dict[str, Any]]:
    """A prediction's `result` for Label Studio: what each tag shows of the detections, from its own threshold on, else from `threshold`.

    Ids follow from the content, so an unchanged prediction keeps its region ids; an exact duplicate appears once.
    """
    regions = (_region(detection, tag, width, height, threshold) for detection in detections for tag in tags)
    return list({region["id"]: region for region in regions if region}.values())


def prediction_score(detections: Iterable[Detection], tags: Sequence[ControlTag], threshold: float) -> float:
    """How sure the model is of what it shows (0–1): the mean confidence of the detections that a tag shows.

    When nothing is shown the claim is "nothing is there", and the score is 1 − the strongest confidence of what some tag knows.
    """
    looks = ((detection.confidence, _shown_from(detection, tags, threshold)) for detection in detections)
    known = [(confidence, enough) for confidence, enough in looks if enough is not None]
    shown = [confidence for confidence, enough in known if confidence >= enough]
    score = sum(shown) / len(shown) if shown else 1 - max((confidence for confidence, _ in known), default=0.0)
    return round(score, 5)


def _shown_from(detection: Detection, tags: Sequence[ControlTag], threshold: float) -> float | None:
    """The lowest confidence from which a tag shows this class; None when no tag knows it."""
    found = (tag.shows(detection.label, threshold) for tag in tags)
    return min((enough for _, enough in filter(None, found)), default=None)


def from_regions(
    result: Iterable[Mapping[str, Any]], tags: Sequence[ControlTag], width: int, height: int
) -> tuple[list[LabelledBox], list[Exclusion]]:
    """Boxes of an annotation in pixels of our upright image, and the regions that cannot become one.

    A rotated rectangle becomes the box that encloses it. Boxes are clipped to the frame. Nothing is raised for a bad region:
    one slip of a hand must not lose the other boxes, and must not go unseen either.
    """
    by_name = {tag.name: tag for tag in tags}
    drawn = (region for region in result if region.get("type") not in NOT_DRAWN)
    outcomes = [_labelled(region, by_name.get(str(region.get("from_name"))), width, height) for region in drawn]
    boxes = [outcome for outcome in outcomes if isinstance(outcome, LabelledBox)]
    exclusions = [outcome for outcome in outcomes if isinstance(outcome, Exclusion)]
    return boxes, exclusions


def _region(detection: Detection, tag: ControlTag, width: int, height: int, threshold: float) -> dict[str, Any] | None:
    shown, box = tag.shows(detection.label, threshold), detection.box.clipped(width, height)
    if shown is None or detection.confidence < shown[1] or not box.valid:
        return None
    label = shown[0]
    place = {key: round(value, 5) for key, value in box_to_percent(box, width, height).items()}
    return {
        "id": _region_id(tag.name, label, detection),
        "type": tag.result_type,
        "from_name": tag.name,
        "to_name": tag.to_name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {**place, tag.result_type: [label]},
        "score": round(detection.confidence, 5),
    }


def _region_id(name: str, label: str, detection: Detection) -> str:
    content = json.dumps([name, label, detection.as_dict()], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _labelled(region: Mapping[str, Any], tag: ControlTag | None, width: int, height: int) -> LabelledBox | Exclusion:
    region_id, label = str(region.get("id", "")), _label(region, tag)
    if isinstance(label, _Fault):
        return Exclusion(region_id, label.reason)
    box = _box(region, width, height)
    if box is None or not box.valid:
        return Exclusion(region_id, "no area inside the image")
    return LabelledBox(label, box, region_id, str(region.get("origin") or ""))


@dataclass(frozen=True)
class _Fault:
    reason: str


def _label(region: Mapping[str, Any], tag: ControlTag | None) -> str | _Fault:
    if tag is None:
        return _Fault(f"unknown tag {region.get('from_name')!r}")
    if region.get("type") != tag.result_type:
        return _Fault(f"type {region.get('type')!r} is not a labelled rectangle")
    names = _value(region).get(tag.result_type) or []
    if len(names) != 1:
        return _Fault("several labels" if names else "no label")
    return tag.spelling(str(names[0])) or _Fault(f"unknown label {names[0]!r}")


def _box(region: Mapping[str, Any], width: int, height: int) -> Box | None:
    value = _value(region)
    try:
        x, y, w, h = (float(value[key]) for key in ("x", "y", "width", "height"))
        rotation = float(value.get("rotation") or 0)
    except (KeyError, TypeError, ValueError):
        return None
    return enclosing(percent_to_corners(x, y, w, h, rotation, width, height)).clipped(width, height)


def _value(region: Mapping[str, Any]) -> Mapping[str, Any]:
    value = region.get("value")
    return value if isinstance(value, Mapping) else {}
