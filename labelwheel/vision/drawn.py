"""What a person drew in Label Studio, as boxes to train and score on.

Label Studio's `image_rotation` says how the view was turned while drawing; its editor turns the stage and not the regions,
so percentages stay those of the unturned, upright image and need no correction here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from labelwheel.errors import InputError
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box, box_to_percent, enclosing, percent_to_corners
from labelwheel.vision.label_config import ControlTag, trained_tags
from labelwheel.vision.region import framed

# Results that answer a question about the whole task: nobody drew them, so leaving them out loses no box.
NOT_DRAWN = frozenset({"choices", "textarea", "rating", "relation", "number", "taxonomy", "datetime", "pairwise", "ranker"})
SHOWN = 40  # characters of what is no region


@dataclass(frozen=True)
class Exclusion:
    """A drawn region that does not become a label, and why."""

    region_id: str
    reason: str


def from_regions(result: Iterable[Any], tags: Sequence[ControlTag], width: int, height: int) -> tuple[list[LabelledBox], list[Exclusion]]:
    """Boxes of an annotation in pixels of our upright image, and the regions that cannot become one.

    A rotated rectangle becomes the box that encloses it. Boxes are clipped to the frame. Nothing is raised for a bad region:
    one slip of a hand must not lose the other boxes, and must not go unseen either; and of what comes through its API or an import Label
    Studio checks nothing but that `result` is a list. What was drawn for another model than the one
    that we train, or on another image of the task, is passed over.
    """
    by_name = {tag.name: tag for tag in trained_tags(tags)}
    others = {tag.name for tag in tags} - by_name.keys()
    drawn = (region for region in result if not isinstance(region, Mapping) or _is_ours(region, others))
    outcomes = [_outcome(region, by_name, width, height) for region in drawn]
    boxes = [outcome for outcome in outcomes if isinstance(outcome, LabelledBox)]
    exclusions = [outcome for outcome in outcomes if isinstance(outcome, Exclusion)]
    return boxes, exclusions


def to_drawn(boxes: Iterable[LabelledBox], tags: Sequence[ControlTag], width: int, height: int, ids: str) -> list[dict[str, Any]]:
    """Boxes in pixels of our upright image as Label Studio keeps what a person drew: the inverse of `from_regions`.

    Region ids are `ids` and the box's number. Raises InputError for a label that nobody can draw.
    """
    return [_region(box, tags, width, height, f"{ids}{number}") for number, box in enumerate(boxes)]


def _region(box: LabelledBox, tags: Sequence[ControlTag], width: int, height: int, region_id: str) -> dict[str, Any]:
    tag = next((tag for tag in trained_tags(tags) if box.label in tag.labels), None)
    if tag is None:
        known = ", ".join(dict.fromkeys(label for tag in trained_tags(tags) for label in tag.labels))
        message = f"The label config has no label {box.label!r}; it has {known}."
        raise InputError(message, "Use one of these. A new one is added in Label Studio, then `labelwheel connect`.")
    region = framed(region_id, tag, box.label, box_to_percent(box.box, width, height), width, height)
    return {**region, "origin": "manual"}


def _is_ours(region: Mapping[str, Any], others: Set[str]) -> bool:
    """Whether a region may be a box of ours: no answer about the whole task, and of no other tag."""
    return str(region.get("type")) not in NOT_DRAWN and str(region.get("from_name")) not in others


def _outcome(region: Any, tags: Mapping[str, ControlTag], width: int, height: int) -> LabelledBox | Exclusion:
    if not isinstance(region, Mapping):
        return Exclusion("", f"{str(region)[:SHOWN]!r} is no region")
    return _labelled(region, tags.get(str(region.get("from_name"))), width, height)


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
    given = _value(region).get(tag.result_type)
    names = given if isinstance(given, list) else []
    if len(names) != 1:
        return _Fault("several labels" if names else "no label")
    return tag.spelling(str(names[0])) or _Fault(f"unknown label {names[0]!r}")


def _box(region: Mapping[str, Any], width: int, height: int) -> Box | None:
    value = _value(region)
    try:
        x, y, w, h = (float(value[key]) for key in ("x", "y", "width", "height"))
        rotation = float(value.get("rotation") or 0)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return enclosing(percent_to_corners(x, y, w, h, rotation, width, height)).clipped(width, height)


def _value(region: Mapping[str, Any]) -> Mapping[str, Any]:
    value = region.get("value")
    return value if isinstance(value, Mapping) else {}
