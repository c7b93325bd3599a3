"""Our labels as samples of an export. Boxes are those of the label; what else its annotation drew is read from the mirror."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
from PIL import Image as Opened
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import AnnotationRevision, Label
from labelwheel.errors import DatasetError, LabelwheelError
from labelwheel.storage import ImageStore
from labelwheel.vision import image
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.drawing import Canvas, Drawing, Shape, Size
from labelwheel.vision.drawn import Exclusion
from labelwheel.vision.former_tags import readable
from labelwheel.vision.geometry import Box
from labelwheel.vision.label_config import RECTANGLES, answering_tags, parse, pushed_tag
from labelwheel.vision.outline import Outline, box_of, rectangle
from retrain.dataset.content import Item, Plan
from retrain.dataset.folder import Excluded, Sample

ORIENTATION = 0x0112
PORTION = 200
SAME = 0.01  # pixels
NOTHING: Mapping[str, Path] = {}
UNCHANGED = ClassMap()


def canvas_of(config: str, drawn_with: Sequence[Any]) -> Canvas:
    """Whatever was drawn on the image that we train on, by tags that the label config has, or had: `drawn_with` is the class map's.

    Raises InputError for a label config that cannot be used.
    """
    filled = {tag.name: tag for tag in parse(config)}
    ours = pushed_tag(list(filled.values())).value_key
    now = [filled.get(tag.name, tag) for tag in answering_tags(config)]
    return Canvas(readable(now, [{**entry, "value_key": ours} for entry in drawn_with]), ours)


def samples(
    plan: Plan, database: Database, store: ImageStore, canvas: Canvas | None, *, images: bool = True, there: Mapping[str, Path] = NOTHING
) -> Iterator[Sample | Excluded]:
    """Each label of the plan as a sample; one whose image is lost is excluded. With `canvas`, all that was drawn; else boxes alone.

    `there` are upright images that need not be read from the store, by `stem`.
    """
    for start in range(0, len(plan.items), PORTION):
        portion = plan.items[start : start + PORTION]
        results = _results(database, [item.label_id for item in portion]) if canvas else {}
        for item in portion:
            result = results.get(item.label_id)
            drawn = drawing(item, canvas, result, plan.class_map)
            told = {"key": item.key, "label": item.label_id}
            upright = straightened(result or (), drawn.shapes)
            yield _sample(item, store if images else None, there, drawn, told | ({"upright": upright} if upright else {}))
    for one in plan.excluded:
        yield Excluded(one.task, one.sha256, one.reason, told={"key": one.key, "label": one.label_id})


def _sample(item: Item, store: ImageStore | None, there: Mapping[str, Path], drawn: Drawing, told: Mapping[str, Any]) -> Sample | Excluded:
    try:
        known = there.get(stem(item))
        content, suffix = (None, "") if store is None else (known, known.suffix) if known else picture(item, store)
    except DatasetError as error:
        return Excluded(item.task, item.sha256, error.message, drawn.regions, told)
    return Sample(item.task, stem(item), item.sha256, item.split, drawn, content, suffix, item.source, told)


def stem(item: Item) -> str:
    """File name without suffix: equal names of the cameras' files can never collide."""
    return item.sha256


def picture(item: Item, store: ImageStore) -> tuple[bytes | Path, str]:
    """The item's upright image and its suffix. A turned image is written anew, without loss; all others keep their bytes.

    Raises DatasetError when it is gone or cannot be read.
    """
    try:
        source = store.path(item.uri)
        with Opened.open(source) as opened:
            turned = opened.getexif().get(ORIENTATION, 1) != 1
        return (upright(source.read_bytes()), ".png") if turned else (source, source.suffix)
    except (LabelwheelError, OSError) as error:
        raise DatasetError(
            f"The image of label {item.label_id} cannot be read: {error}", "Restore the image store from its backup."
        ) from error


def upright(data: bytes) -> bytes:
    """The bytes of an image as those of an upright PNG."""
    pixels = image.decode(data, max_bytes=len(data), max_pixels=2**31)
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def drawing(item: Item, canvas: Canvas | None, result: Sequence[Any] | None, classes: ClassMap = UNCHANGED) -> Drawing:
    """What the item's label holds, in pixels; with `canvas` and the annotation's `result` also its turned corners, outlines, points, choices.

    Which boxes count was decided when the label was made, perhaps out of several annotations: they are taken from it. Names are read as
    `classes` reads them.
    """
    size = item.width, item.height
    dropped = [Exclusion(region["region_id"], region["reason"]) for region in item.dropped]
    if canvas is None or result is None:
        return Drawing(size, [_upright(box) for box in item.boxes], exclusions=dropped, regions=len(item.boxes) + len(dropped))
    raw = canvas.read(result, size)
    corners = {shape.region_id: shape for shape in raw.shapes if shape.kind == RECTANGLES}
    shapes = [_exact(box, corners.get(box.region_id), size) for box in item.boxes]
    others = [shape for shape in raw.shapes if shape.kind != RECTANGLES]
    gone = [shape for shape in others if classes.knows(shape.label) and classes.read(shape.label) is None]
    shapes += [shape._replace(label=classes.read(shape.label) or shape.label) for shape in others if shape not in gone]
    dropped += [Exclusion(shape.region_id, classes.why_not(shape.label)) for shape in gone]
    told = {region["region_id"] for region in item.dropped} | {shape.region_id for shape in shapes}
    left = [*dropped, *(one for one in raw.exclusions if one.region_id not in told)]
    return Drawing(size, shapes, raw.marks, raw.choices, left, len(shapes) + len(raw.marks) + len(left))


def straightened(result: Sequence[Any], shapes: Sequence[Shape]) -> list[str]:
    """Ids of the rectangles that were drawn turned and of which only the box around them is kept."""
    regions = [region for region in result if isinstance(region, Mapping) and isinstance(region.get("value"), Mapping)]
    turned = {str(region.get("id", "")) for region in regions if _is_turned(region["value"].get("rotation"))}
    return [shape.region_id for shape in shapes if shape.region_id in turned and shape.kind == RECTANGLES and _stands(shape.corners)]


def _is_turned(rotation: object) -> bool:
    return isinstance(rotation, int | float) and bool(rotation % 90)


def _stands(corners: Outline) -> bool:
    return corners[0][1] == corners[1][1]


def _upright(box: LabelledBox) -> Shape:
    corners = rectangle(box.box.x1, box.box.y1, box.box.width, box.box.height, 0)
    return Shape(box.label, RECTANGLES, corners, box.region_id, corners)


def _exact(box: LabelledBox, raw: Shape | None, size: Size) -> Shape:
    """The label's box; its turned corners where it is what of their enclosing box is inside the frame."""
    if raw is None or not _same(box_of(raw.corners).clipped(*size), box.box):
        return _upright(box)
    return raw._replace(label=box.label)


def _same(first: Box, second: Box) -> bool:
    return max(abs(a - b) for a, b in zip(first.as_tuple(), second.as_tuple(), strict=True)) <= SAME


def _results(database: Database, ids: Sequence[int]) -> dict[int, Sequence[Any]]:
    """What the annotations drew from which these labels are, as Label Studio keeps it."""
    query = select(Label.id, AnnotationRevision.body).join(AnnotationRevision, AnnotationRevision.id == Label.annotation_revision_id)
    with database.read() as session:
        found = session.execute(query.where(Label.id.in_(ids))).tuples()
        return {label: body["result"] for label, body in found if isinstance(body.get("result"), list)}
