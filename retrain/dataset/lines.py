"""What each format keeps of a drawing, as the lines of a label file: pure. docs/export.md says which rule has which test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from labelwheel.vision import geometry, outline
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.drawing import Drawing, Joint, Posed, Shape, Size, posed
from labelwheel.vision.drawn import Exclusion
from labelwheel.vision.outline import Outline
from retrain.dataset.format import Format

DECIMALS = 9  # a box of one pixel on the largest image accepted comes back at an IoU above 0.999
DRAWN, ABSENT = 2, 0  # COCO's words for a visible point and one that is not labelled
NO_POINTS = "a key point: only yolo-pose and coco keep it"
CHOSEN = "a drawn shape: yolo-cls keeps choices only"


@dataclass(frozen=True, slots=True)
class Written:
    """What a format kept: the label file's text, the objects in it (of a class the chosen one), regions kept, and those left out."""

    text: str
    posed: Sequence[Posed]
    labels: Sequence[str]
    regions: int
    exclusions: Sequence[Exclusion]


class Names:
    """Class ids by every name that a class has or had; what is in use no more has none."""

    def __init__(self, classes: ClassMap) -> None:
        self.labels = classes.labels
        self.why_not = classes.why_not
        today = {name: classes.read(name) for name in (*classes.labels, *classes.former)}
        self.ids = {name: classes.id_of(label) for name, label in today.items() if label is not None}


def to_text(boxes: Iterable[LabelledBox], classes: ClassMap, width: int, height: int) -> str:
    """YOLO lines `class cx cy w h` in shares of the image; empty when a person saw nothing."""
    lines = []
    for box in boxes:
        x, y, w, h = geometry.box_to_yolo(box.box, width, height)
        lines.append(f"{classes.id_of(box.label)} {x:.{DECIMALS}f} {y:.{DECIMALS}f} {w:.{DECIMALS}f} {h:.{DECIMALS}f}\n")
    return "".join(lines)


def from_text(text: str, classes: ClassMap, width: int, height: int) -> list[LabelledBox]:
    """Inverse of `to_text`, up to its decimals."""
    rows = (line.split() for line in text.splitlines())
    return [
        LabelledBox(classes.label_of(int(class_id)), geometry.yolo_to_box(*map(float, shares), width, height))  # type: ignore[call-arg]
        for class_id, *shares in rows
    ]


def write(form: Format, drawing: Drawing, names: Names, joints: Sequence[Joint]) -> Written:
    """What `form` keeps of a drawing. Objects of labels that are no class are left out and named."""
    if form is Format.cls:
        return _chosen(drawing, names)
    known, strangers = _known(drawing, names)
    found, left = _posed(form, known, joints)
    text = "".join(_lines(form, found, drawing.size, names.ids, joints)) if drawing.size else ""
    regions = len(found) + sum(len(one.points) for one in found)
    labels = [names.labels[names.ids[one.shape.label]] for one in found]
    return Written(text, found, labels, regions, [*drawing.exclusions, *strangers, *left])


def _chosen(drawing: Drawing, names: Names) -> Written:
    drawn = [Exclusion(shape.region_id, CHOSEN) for shape in drawing.shapes]
    drawn += [Exclusion(mark.region_id, CHOSEN) for mark in drawing.marks]
    chosen = [names.labels[names.ids[choice]] for choice in drawing.choices if choice in names.ids]
    return Written("", (), chosen, len(chosen), [*drawing.exclusions, *drawn])


def _known(drawing: Drawing, names: Names) -> tuple[Drawing, list[Exclusion]]:
    strangers = [shape for shape in drawing.shapes if shape.label not in names.ids]
    if not strangers:
        return drawing, []
    kept = [shape for shape in drawing.shapes if shape.label in names.ids]
    return Drawing(drawing.size, kept, drawing.marks), [Exclusion(shape.region_id, names.why_not(shape.label)) for shape in strangers]


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
