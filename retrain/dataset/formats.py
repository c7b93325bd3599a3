"""What each format keeps of a drawing, as the lines of a label file: pure. docs/export.md says which rule has which test.

| format    | a line                                                                                   |
| yolo      | class cx cy width height: the box around whatever was drawn                              |
| yolo-obb  | class x1 y1 … : the four corners; where the frame cuts them, all corners of what is left |
| yolo-seg  | class x1 y1 … : the outline                                                              |
| yolo-pose | class cx cy width height, then x y v for each point of the skeleton (v 2: drawn, 0: not) |
| yolo-cls  | none: the folder that the image lies in is its class                                     |
| coco      | as yolo, beside COCO's JSON                                                              |

Numbers are shares of the upright image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from labelwheel.vision import outline
from labelwheel.vision.drawing import Drawing, Joint, Posed, Shape, Size, posed
from labelwheel.vision.drawn import Exclusion
from labelwheel.vision.outline import Outline

DECIMALS = 9  # a box of one pixel on the largest image accepted comes back at an IoU above 0.999
DRAWN, ABSENT = 2, 0  # COCO's words for a visible point and one that is not labelled
NO_POINTS = "a key point: only yolo-pose and coco keep it"
CHOSEN = "a drawn shape: yolo-cls keeps choices only"


class Format(StrEnum):
    """What an export is written as."""

    yolo = "yolo"
    obb = "yolo-obb"
    seg = "yolo-seg"
    pose = "yolo-pose"
    cls = "yolo-cls"
    coco = "coco"


@dataclass(frozen=True, slots=True)
class Written:
    """What a format kept: the label file's text, the objects in it (of a class the chosen one), regions kept, and those left out."""

    text: str
    posed: Sequence[Posed]
    labels: Sequence[str]
    regions: int
    exclusions: Sequence[Exclusion]


def write(form: Format, drawing: Drawing, ids: Mapping[str, int], joints: Sequence[Joint]) -> Written:
    """What `form` keeps of a drawing. `ids` are the class ids by label; objects of other labels are left out and named."""
    if form is Format.cls:
        return _chosen(drawing, ids)
    known, strangers = _known(drawing, ids)
    found, left = _posed(form, known, joints)
    text = "".join(_lines(form, found, drawing.size, ids, joints)) if drawing.size else ""
    regions = len(found) + sum(len(one.points) for one in found)
    return Written(text, found, [one.shape.label for one in found], regions, [*drawing.exclusions, *strangers, *left])


def _chosen(drawing: Drawing, ids: Mapping[str, int]) -> Written:
    drawn = [Exclusion(region, CHOSEN) for region in [*_ids(drawing.shapes), *_ids(drawing.marks)]]
    return Written("", (), [choice for choice in drawing.choices if choice in ids], 0, [*drawing.exclusions, *drawn])


def _ids(regions: Sequence[Shape] | Sequence[object]) -> Iterator[str]:
    return (region.region_id for region in regions)  # type: ignore[attr-defined]


def _known(drawing: Drawing, ids: Mapping[str, int]) -> tuple[Drawing, list[Exclusion]]:
    strangers = [shape for shape in drawing.shapes if shape.label not in ids]
    if not strangers:
        return drawing, []
    kept = [shape for shape in drawing.shapes if shape.label in ids]
    told = [Exclusion(shape.region_id, f"class {shape.label!r} is not in the class map") for shape in strangers]
    return Drawing(drawing.size, kept, drawing.marks), told


def _posed(form: Format, drawing: Drawing, joints: Sequence[Joint]) -> tuple[Sequence[Posed], list[Exclusion]]:
    if form in (Format.pose, Format.coco) and drawing.marks:
        return posed(drawing, joints)
    return [Posed(shape, {}) for shape in drawing.shapes], [Exclusion(mark.region_id, NO_POINTS) for mark in drawing.marks]


def _lines(form: Format, found: Sequence[Posed], size: Size, ids: Mapping[str, int], joints: Sequence[Joint]) -> Iterator[str]:
    if form is Format.pose:
        places = places_of(joints)
        return (f"{ids[one.shape.label]} {_box(one.shape.outline, size)}{_points(one, places, size)}\n" for one in found)
    place = PLACES[form]
    return (f"{ids[one.shape.label]} {place(one.shape, size)}\n" for one in found)


def places_of(joints: Sequence[Joint]) -> int:
    """How many points a row of the skeleton has."""
    return max((joint.place + 1 for joint in joints), default=0)


def _box(points: Outline, size: Size) -> str:
    (width, height), (xs, ys) = size, zip(*points, strict=True)
    left, right, top, bottom = min(xs) / width, max(xs) / width, min(ys) / height, max(ys) / height
    return f"{(left + right) / 2:.9f} {(top + bottom) / 2:.9f} {right - left:.9f} {bottom - top:.9f}"


def _shares(points: Outline, size: Size) -> str:
    width, height = size
    return " ".join(f"{x / width:.9f} {y / height:.9f}" for x, y in points)


def turned(shape: Shape, size: Size) -> Outline:
    """The turned rectangle of a shape: its own corners, or the smallest around its outline; what the frame cuts off is not in it."""
    return outline.clipped(shape.corners or outline.smallest_rectangle(shape.outline), *size) or shape.outline


def _points(one: Posed, places: int, size: Size) -> str:
    return "".join(_point(one, place, size) for place in range(places))


def _point(one: Posed, place: int, size: Size) -> str:
    if place not in one.points:
        return f" 0 0 {ABSENT}"
    x, y = one.points[place].spot
    return f" {x / size[0]:.9f} {y / size[1]:.9f} {DRAWN}"


PLACES: Mapping[Format, Callable[[Shape, Size], str]] = {
    Format.yolo: lambda shape, size: _box(shape.outline, size),
    Format.coco: lambda shape, size: _box(shape.outline, size),
    Format.obb: lambda shape, size: _shares(turned(shape, size), size),
    Format.seg: lambda shape, size: _shares(shape.outline, size),
}
