"""Tags that boxes were drawn with and that the label config no longer has, or not with all their labels: what was drawn stays readable.

Label Studio does not change annotations when a label or a tag is renamed. A label that is gone keeps its name and its class id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from labelwheel.vision.label_config import RECTANGLES, ControlTag, trained_tags

Json = dict[str, Any]


def remember(known: Sequence[Json], tags: Sequence[ControlTag]) -> list[Json]:
    """`known` and the tags that boxes are drawn with now, each with every label that it ever had. Nothing is ever forgotten."""
    merged = {str(entry["name"]): entry for entry in known}
    for tag in trained_tags(tags):
        before = merged.get(tag.name, {}).get("labels", [])
        labels = list(dict.fromkeys([*before, *tag.labels]))
        merged[tag.name] = {"name": tag.name, "to_name": tag.to_name, "value_key": tag.value_key, "labels": labels}
    return list(merged.values())


def readable(tags: Sequence[ControlTag], known: Sequence[Json]) -> list[ControlTag]:
    """The tags that annotations are read by: those of now with all their former labels, and the former ones.

    A tag of now that is no longer ours to train on has taken its name away from the former one.
    """
    by_name = {str(entry["name"]): entry for entry in known}
    given_away = {tag.name for tag in tags if tag.kind == RECTANGLES and not tag.trains}
    trained = {tag.name for tag in trained_tags(tags)}
    widened = [_widened(tag, by_name[tag.name]) if tag.name in trained & by_name.keys() else tag for tag in tags]
    return widened + [_former(by_name[name], tags) for name in by_name if name not in trained | given_away]


def _widened(tag: ControlTag, entry: Json) -> ControlTag:
    return replace(tag, labels=tuple(dict.fromkeys([*tag.labels, *map(str, entry["labels"])])))


def _former(entry: Json, tags: Sequence[ControlTag]) -> ControlTag:
    # Our tasks bring one image: whatever the config calls it now, it is the one that was drawn on.
    value_key = next((tag.value_key for tag in trained_tags(tags)), str(entry["value_key"]))
    return ControlTag(RECTANGLES, str(entry["name"]), str(entry["to_name"]), value_key, tuple(map(str, entry["labels"])))
