"""Whether a pre-annotation fits the label config: Label Studio stores what does not fit in an import, and drops it in others, without a word."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from labelwheel.vision.label_config import RECTANGLES, ControlTag

RELATION = "relation"
PERCENT = {"x": -math.inf, "y": -math.inf, "width": 0, "height": 0}  # a rotated one's corner may lie left of the image or above it


def misfits(prediction: Mapping[str, Any], tags: Sequence[ControlTag]) -> list[str]:
    """What of a prediction does not fit, in words; empty when Label Studio will show all of it. `tags` are those of the label config."""
    by_name = {tag.name: tag for tag in tags}
    found, score = [] if prediction.get("model_version") else ["it names no model version"], prediction.get("score")
    if score is not None and not _within(score, 1):
        found.append(f"its score {score!r} is not between 0 and 1")
    for region in prediction["result"]:
        found += _of_region(region, by_name.get(str(region.get("from_name"))))
    return found


def fitting(result: Iterable[Any], tags: Sequence[ControlTag], names: Collection[str] = ()) -> list[dict[str, Any]]:
    """The regions of an annotation that Label Studio takes as a prediction's: of what comes through its API or an import it checks none.

    Regions of other tags than `tags` are left in where the label config has such a name, for what they may hold is not known here;
    relations, where both their regions stay.
    """
    by_name = {tag.name: tag for tag in tags}
    regions = [region for region in result if isinstance(region, dict)]
    kept = [region for region in regions if region.get("type") == RELATION or _fits(region, by_name, names)]
    ids = {str(region.get("id")) for region in kept if region.get("type") != RELATION}
    return [region for region in kept if region.get("type") != RELATION or {str(region.get("from_id")), str(region.get("to_id"))} <= ids]


def _fits(region: Mapping[str, Any], tags: Mapping[str, ControlTag], names: Collection[str]) -> bool:
    name = str(region.get("from_name"))
    return not list(_of_region(region, tags[name])) if name in tags else name in names


def _of_region(region: Mapping[str, Any], tag: ControlTag | None) -> Iterator[str]:
    name, value = region.get("from_name"), region.get("value")
    value = value if isinstance(value, Mapping) else {}
    if tag is None:
        yield f"there is no tag {name!r}"
        return
    if (region.get("to_name"), region.get("type")) != (tag.to_name, tag.result_type):
        yield f"the tag {name!r} is {tag.result_type} of {tag.to_name!r}, not {region.get('type')} of {region.get('to_name')!r}"
        return
    labels = value.get(tag.result_type)
    strangers = [label for label in (labels if isinstance(labels, list) and labels else [None]) if label not in tag.labels]
    if strangers:
        yield f"the tag {name!r} has no label {strangers[0]!r}"
    outside = [key for key, least in PERCENT.items() if tag.kind == RECTANGLES and not _within(value.get(key), 100, least)]
    if outside:
        yield f"{outside[0]} {value.get(outside[0])!r} of a rectangle is beyond 100 percent, or no number"


def _within(value: Any, most: float, least: float = 0) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and least <= value <= most
