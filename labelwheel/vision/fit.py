"""Whether a pre-annotation fits the label config: Label Studio stores what does not fit in an import, and drops it in others, without a word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labelwheel.vision.label_config import RECTANGLES, ControlTag

PERCENT = {"x": -math.inf, "y": -math.inf, "width": 0, "height": 0}  # a rotated one's corner may lie left of the image or above it


def misfits(prediction: Mapping[str, Any], tags: Sequence[ControlTag]) -> list[str]:
    """What of a prediction does not fit, in words; empty when Label Studio will show all of it. `tags` are those of the label config."""
    by_name = {tag.name: tag for tag in tags}
    found = [] if prediction.get("model_version") else ["it names no model version"]
    if not _within(prediction.get("score"), 1):
        found.append(f"its score {prediction.get('score')!r} is not between 0 and 1")
    for region in prediction["result"]:
        found += _of_region(region, by_name.get(str(region.get("from_name"))))
    return found


def _of_region(region: Mapping[str, Any], tag: ControlTag | None) -> Iterator[str]:
    name, value = region.get("from_name"), region.get("value") or {}
    if tag is None:
        yield f"there is no tag {name!r}"
        return
    if (region.get("to_name"), region.get("type")) != (tag.to_name, tag.result_type):
        yield f"the tag {name!r} is {tag.result_type} of {tag.to_name!r}, not {region.get('type')} of {region.get('to_name')!r}"
        return
    strangers = [label for label in value.get(tag.result_type) or [None] if label not in tag.labels]
    if strangers:
        yield f"the tag {name!r} has no label {strangers[0]!r}"
    outside = [key for key, least in PERCENT.items() if tag.kind == RECTANGLES and not _within(value.get(key), 100, least)]
    if outside:
        yield f"{outside[0]} {value.get(outside[0])!r} of a rectangle is beyond 100 percent, or no number"


def _within(value: Any, most: float, least: float = 0) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and least <= value <= most
