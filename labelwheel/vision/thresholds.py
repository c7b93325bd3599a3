"""Write display thresholds into a label config, and leave every other character of it as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from html import unescape

from labelwheel.errors import InputError
from labelwheel.vision.label_config import RECTANGLES, ControlTag, LabelRule, parse, trained_tags

ATTRIBUTE = "model_score_threshold"
ITEM = re.compile(
    r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>"  # what only looks like a tag
    r"|<(?P<close>/)?(?P<name>[^\s/>]+)(?P<attributes>(?:[^>\"']|\"[^\"]*\"|'[^']*')*?)(?P<empty>/)?>",
    re.DOTALL,
)
PAIR = re.compile(r"([^\s=]+)\s*=\s*(\"[^\"]*\"|'[^']*')")


def with_thresholds(xml: str, thresholds: Mapping[str, float]) -> str:
    """The config with these confidences (0–1) as `model_score_threshold` of the labels that we train on, written out to four places.

    Raises InputError when the config cannot be read, or when a label cannot be reached by this plain way of writing.
    """
    tags = parse(xml)
    inside = {tag.name for tag in trained_tags(tags)}
    edits = [edit for place, label in _labels(xml, inside) if label in thresholds for edit in [_edit(place, thresholds[label])]]
    for start, end, text in sorted(edits, reverse=True):
        xml = xml[:start] + text + xml[end:]
    if parse(xml) != [_with(tag, thresholds) if tag.name in inside else tag for tag in tags]:
        raise InputError("The label config is written in a way that thresholds cannot be put into.", f"Write {ATTRIBUTE} by hand.")
    return xml


def _labels(xml: str, inside: set[str]) -> Iterator[tuple[re.Match[str], str]]:
    """The start tags of labels within the named tags, each with its label."""
    depth = 0  # of elements, counted from one of the named tags
    for item in ITEM.finditer(xml):
        if not item["name"]:
            continue
        if item["close"]:
            depth = max(depth - 1, 0)
            continue
        attributes = {name: unescape(value[1:-1]) for name, value in PAIR.findall(item["attributes"])}
        if depth and item["name"] == "Label":
            yield item, attributes.get("alias") or attributes.get("value") or ""
        if not item["empty"] and (depth or (item["name"] == RECTANGLES and attributes.get("name") in inside)):
            depth += 1


def _edit(item: re.Match[str], threshold: float) -> tuple[int, int, str]:
    """(start, end, text): the value of the attribute if it is there, else the attribute, after all others."""
    text, start = f"{round(threshold, 4):g}", item.start("attributes")
    for pair in PAIR.finditer(item["attributes"]):
        if pair[1] == ATTRIBUTE:
            return start + pair.start(2) + 1, start + pair.end(2) - 1, text
    end = start + len(item["attributes"].rstrip())
    return end, end, f' {ATTRIBUTE}="{text}"'


def _with(tag: ControlTag, thresholds: Mapping[str, float]) -> ControlTag:
    rules = [
        replace(tag.rule(label), threshold=round(thresholds[label], 4)) if label in thresholds else tag.rule(label) for label in tag.labels
    ]
    return replace(tag, rules=tuple(rule for rule in rules if rule != LabelRule(rule.label)))
