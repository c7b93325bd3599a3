"""All that a person drew on an image or chose for it, each shape in pixels of the upright image; docs/export.md lists the rules.

`drawn` reads the boxes that the wheel trains on; this reads whatever Label Studio knows to draw, for formats that keep more than boxes.
`image_rotation` is how the view was turned while drawing, and needs no correction: see `drawn`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from labelwheel.vision import brush, outline
from labelwheel.vision.drawn import NOT_DRAWN, Exclusion
from labelwheel.vision.label_config import ANY_SHAPE, BRUSHES, CHOICES, DRAWS, ELLIPSES, KEYPOINTS, POLYGONS, RECTANGLES, ControlTag
from labelwheel.vision.outline import Outline, Spot

Size = tuple[int, int]
Value = Mapping[str, Any]

BARE = frozenset({"rectangle", "polygon", "ellipse", "brush", "keypoint"})  # the shape beside a result of type `labels`
LEAST_AREA = 1e-4  # square pixels


class Shape(NamedTuple):
    """One object: what of its `outline` is inside the frame. `corners` are those of a rectangle or around an ellipse, not cut.

    `parts` are the outlines of what was painted: the largest first, holes going the other way.
    """

    label: str
    kind: str
    outline: Outline
    region_id: str = ""
    corners: Outline = ()
    parts: tuple[Outline, ...] = ()


class Mark(NamedTuple):
    """One key point; `parent` is the region that it was hung on, if any."""

    label: str
    spot: Spot
    region_id: str = ""
    parent: str = ""


@dataclass(slots=True)
class Drawing:
    """What an annotation says of one image of `size` (width, height), None while nothing tells it. `regions`: how many drew something."""

    size: Size | None
    shapes: list[Shape] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)
    exclusions: list[Exclusion] = field(default_factory=list)
    regions: int = 0


class Canvas:
    """What can be drawn and chosen on one image of a task: the one under `value_key`, else the first that has a tag to draw with.

    Of tags with one name, as a former tag and today's may have it, each reads what is of its kind.
    """

    def __init__(self, tags: Sequence[ControlTag], value_key: str | None = None) -> None:
        first = next((tag for tag in tags if tag.kind in DRAWS), tags[0])
        self.value_key = first.value_key if value_key is None else value_key
        mine = [tag for tag in tags if tag.value_key == self.value_key]
        self.tags: dict[str, ControlTag] = {}
        drawing = (tag for tag in mine if tag.kind in DRAWS)
        self.namesakes = [tag for tag in drawing if self.tags.setdefault(tag.name, tag) is not tag]
        self.question = next((tag for tag in mine if tag.kind == CHOICES), None)
        self.others = frozenset(tag.name for tag in tags if tag.kind in DRAWS) - self.tags.keys()
        self.skeleton = skeleton([tag for tag in mine if tag.kind == KEYPOINTS])

    @property
    def labels(self) -> list[str]:
        """The labels of objects, in the order of the config."""
        tags = [*self.tags.values(), *self.namesakes]
        return list(dict.fromkeys(label for tag in tags if tag.kind != KEYPOINTS for label in tag.labels))

    @property
    def options(self) -> list[str]:
        """What may be chosen for the whole image."""
        return list(self.question.labels) if self.question else []

    def read(self, result: Iterable[Any], size: Size | None) -> Drawing:
        """Read an annotation's `result`. Whatever cannot be used is named, nothing is raised: one slip must not lose the rest.

        `size` is the upright image's; without it, the first region that tells it does.
        """
        results = [region if isinstance(region, Mapping) else {} for region in result]
        drawing = Drawing(size or next(filter(None, map(_told_size, results)), None))
        labelled = {str(region.get("id")) for region in results if region.get("type") == "labels"}
        for region in results:
            kind = str(region.get("type"))
            if kind in NOT_DRAWN:
                self._choose(region, drawing)
            elif kind not in BARE or str(region.get("id")) not in labelled:
                self._draw(region, drawing)
        return drawing

    def _choose(self, region: Value, drawing: Drawing) -> None:
        if self.question and region.get("from_name") == self.question.name:
            names = _value(region).get("choices")
            known = [self.question.spelling(str(name)) for name in names] if isinstance(names, list) else []
            drawing.choices += [name for name in known if name]

    def _draw(self, region: Value, drawing: Drawing) -> None:
        drawing.regions += 1
        found = self._read(region, drawing.size)
        if isinstance(found, Shape):
            drawing.shapes.append(found)
        elif isinstance(found, Mark):
            drawing.marks.append(found)
        else:
            drawing.exclusions.append(Exclusion(str(region.get("id", "")), found))

    def _read(self, region: Value, size: Size | None) -> Shape | Mark | str:
        """What the region draws, or why it draws nothing."""
        tag = self.tags.get(str(region.get("from_name")))
        if tag is None:
            return self._stranger(region)
        value = _value(region)
        if tag.result_type not in value:
            tag = next((other for other in self.namesakes if other.name == tag.name and other.result_type in value), tag)
        names = value.get(tag.result_type)
        if not isinstance(names, list) or len(names) != 1:
            return "several labels" if isinstance(names, list) and names else "no label"
        label = names[0] if names[0] in tag.labels else tag.spelling(str(names[0]))
        if label is None:
            return f"unknown label {names[0]!r}"
        if region.get("item_index"):
            return "drawn on another image of the task"
        return _placed(label, tag.kind if tag.kind != ANY_SHAPE else _kind(value), region, value, size)

    def _stranger(self, region: Value) -> str:
        name = region.get("from_name")
        if str(region.get("type")) in BARE:
            return "no label"
        return "drawn on another image of the task" if str(name) in self.others else f"unknown tag {name!r}"


def _placed(label: str, kind: str, region: Value, value: Value, size: Size | None) -> Shape | Mark | str:
    if size is None:
        return "the size of the image is not known"
    told = region.get("original_width"), region.get("original_height")
    shown = size if told == size else _told_size(region) or size
    if shown == (size[1], size[0]) != size:
        return f"drawn on an image of {shown[0]} × {shown[1]} pixels, which is this one lying on its side"
    identity = str(region.get("id", ""))
    try:
        if kind == KEYPOINTS:
            return _mark(label, value, size, identity, str(region.get("parentID") or ""))
        parts, corners = MAKERS[kind](value, shown)
    except ValueError as error:
        return f"its place cannot be read: {error}"
    except (KeyError, TypeError, OverflowError):
        return "its place cannot be read"
    if shown != size:
        parts, corners = [_scaled(part, shown, size) for part in parts], _scaled(corners, shown, size)
    return _shape(label, kind, parts, corners, size, identity)


def _shape(label: str, kind: str, parts: Sequence[Outline], corners: Outline, size: Size, identity: str) -> Shape | str:
    whole = parts[0] if len(parts) == 1 else outline.joined(parts) if parts else ()
    area = outline.area(whole)
    if not math.isfinite(area):
        return "its place is not a number"
    inside = outline.clipped(whole, *size) if whole else ()
    if abs(area if inside is whole else outline.area(inside)) < LEAST_AREA:
        return "no area inside the image"
    return Shape(label, kind, inside, identity, corners, tuple(parts) if kind == BRUSHES else ())


def _mark(label: str, value: Value, size: Size, identity: str, parent: str) -> Mark | str:
    x, y = float(value["x"]), float(value["y"])
    if not (0 <= x <= 100 and 0 <= y <= 100):
        return "a point outside of the image"
    return Mark(label, (x * size[0] / 100, y * size[1] / 100), identity, parent)


def _rectangle(value: Value, size: Size) -> tuple[list[Outline], Outline]:
    across, down = size[0] / 100, size[1] / 100
    x, width = float(value["x"]) * across, float(value["width"]) * across
    y, height = float(value["y"]) * down, float(value["height"]) * down
    corners = outline.rectangle(x, y, width, height, float(value.get("rotation") or 0))
    return [corners], corners


def _polygon(value: Value, size: Size) -> tuple[list[Outline], Outline]:
    points = tuple((float(x) * size[0] / 100, float(y) * size[1] / 100) for x, y in value["points"])
    return [points] if len(points) > 2 else [], ()


def _ellipse(value: Value, size: Size) -> tuple[list[Outline], Outline]:
    across, down = size[0] / 100, size[1] / 100
    x, rx = float(value["x"]) * across, float(value["radiusX"]) * across
    y, ry = float(value["y"]) * down, float(value["radiusY"]) * down
    place = x, y, rx, ry, float(value.get("rotation") or 0)
    return [outline.ellipse(*place)], outline.around_ellipse(*place)


def _brush(value: Value, size: Size) -> tuple[list[Outline], Outline]:
    return brush.outlines(brush.painted(value["rle"], *size)), ()


MAKERS: Mapping[str, Callable[[Value, Size], tuple[list[Outline], Outline]]] = {
    RECTANGLES: _rectangle,
    POLYGONS: _polygon,
    ELLIPSES: _ellipse,
    BRUSHES: _brush,
}


def _kind(value: Value) -> str:
    """What a result of the tag `Labels`, which names no shape, draws."""
    keys = (("rle", BRUSHES), ("points", POLYGONS), ("radiusX", ELLIPSES), ("height", RECTANGLES))
    return next((kind for key, kind in keys if key in value), KEYPOINTS)


def _scaled(points: Outline, told: Size, size: Size) -> Outline:
    """From the image that was shown to the one at hand, of the same picture in another size: percent are shares of both."""
    return tuple((x * size[0] / told[0], y * size[1] / told[1]) for x, y in points)


def _told_size(region: Value) -> Size | None:
    width, height = region.get("original_width"), region.get("original_height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0 else None


def _value(region: Value) -> Value:
    value = region.get("value")
    return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True)
class Joint:
    """One point of the skeleton: the label that stands for it, its place in a row, and the objects that have it (none: all)."""

    label: str
    place: int
    objects: tuple[str, ...] = ()


def skeleton(tags: Sequence[ControlTag]) -> tuple[Joint, ...]:
    """The points of an object, as the config has them: at its `model_index`, else at the first place that is free."""
    labels = list(dict.fromkeys((label, tag.rule(label)) for tag in tags for label in tag.labels))
    taken = {rule.index for _, rule in labels if rule.index is not None}
    free = (place for place in range(len(labels) + len(taken)) if place not in taken)
    return tuple(Joint(label, next(free) if rule.index is None else rule.index, rule.predicted) for label, rule in labels)


class Posed(NamedTuple):
    """An object and the points that it has, by their places."""

    shape: Shape
    points: Mapping[int, Mark]


def posed(drawing: Drawing, joints: Sequence[Joint]) -> tuple[list[Posed], list[Exclusion]]:
    """Hang each point on its object: the region that it was drawn under, else the smallest that holds it and may have it.

    Points that no object holds, and a second point of one kind on an object, are named.
    """
    known = {joint.label: joint for joint in joints}
    hung: dict[int, dict[int, Mark]] = {place: {} for place in range(len(drawing.shapes))}
    left: list[Exclusion] = []
    for mark in drawing.marks:
        joint = known[mark.label]
        owner = _owner(mark, joint, drawing.shapes)
        if owner is None:
            left.append(Exclusion(mark.region_id, "a point that lies on no object"))
        elif hung[owner].setdefault(joint.place, mark) is not mark:
            left.append(Exclusion(mark.region_id, f"a second {mark.label!r} of one object"))
    return [Posed(shape, hung[place]) for place, shape in enumerate(drawing.shapes)], left


def _owner(mark: Mark, joint: Joint, shapes: Sequence[Shape]) -> int | None:
    allowed = {name.casefold() for name in joint.objects}
    fits = [place for place, shape in enumerate(shapes) if not allowed or shape.label.casefold() in allowed]
    under = [place for place in fits if mark.parent and shapes[place].region_id == mark.parent]
    if under or mark.parent:
        return under[0] if under else None
    around = [place for place in fits if outline.holds(shapes[place].outline, mark.spot)]
    return min(around, key=lambda place: abs(outline.area(shapes[place].outline)), default=None)
