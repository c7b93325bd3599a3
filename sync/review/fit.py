"""Fit boxes that somebody drew to their image and to the label config. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from labelwheel.errors import InputError
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.class_view import shown_under
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.label_config import ControlTag, trained_tags

SLACK = 1.0  # pixels by which a box may stick out of its image


def fitted(box: LabelledBox, width: int, height: int) -> LabelledBox:
    """The box within its image. Raises InputError when it has no area there, or sticks out by more than a pixel: wrong units, mostly."""
    if box.box.x2 <= box.box.x1 or box.box.y2 <= box.box.y1:
        raise InputError(
            f"The box {list(box.box.as_tuple())} has no area.", "Give left, top, right, bottom: right and bottom are the larger."
        )
    inside = box.box.clipped(width, height)
    off = max((abs(a - b) for a, b in zip(inside.as_tuple(), box.box.as_tuple(), strict=True)), default=0.0)
    if not (inside.valid and off <= SLACK):
        raise InputError(
            f"The box {list(box.box.as_tuple())} does not lie in the image of {width} × {height} pixels.",
            "Give left, top, right, bottom in pixels of the upright image (EXIF turns it).",
        )
    return LabelledBox(box.label, inside, box.region_id, box.origin)


def drawable(boxes: Iterable[LabelledBox], tags: Sequence[ControlTag], classes: ClassMap) -> list[LabelledBox]:
    """The boxes under labels of the label config: a class that was renamed is drawn by the label that shows it. Others stay as they are."""
    mine = shown_under(trained_tags(tags), classes)
    return [replace(box, label=_drawn_by(box.label, mine)) for box in boxes]


def _drawn_by(label: str, tags: Sequence[ControlTag]) -> str:
    if any(label in tag.labels for tag in tags):
        return label
    return next((found[0] for tag in tags if (found := tag.shows(label, 0))), label)
