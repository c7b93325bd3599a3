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
from labelwheel.vision.drawing import Canvas, Drawing, Shape
from labelwheel.vision.drawn import Exclusion
from labelwheel.vision.label_config import RECTANGLES
from labelwheel.vision.outline import box_of, rectangle
from retrain.dataset.content import Item, Plan
from retrain.dataset.folder import Excluded, Sample

ORIENTATION = 0x0112
PORTION = 200
SAME = 0.01  # pixels
NOTHING: Mapping[str, Path] = {}
UNCHANGED = ClassMap()


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
            yield _sample(item, store if images else None, there, drawing(item, canvas, results.get(item.label_id), plan.class_map))
    for one in plan.excluded:
        yield Excluded(one.task, one.sha256, one.reason, told={"key": one.key, "label": one.label_id})


def _sample(item: Item, store: ImageStore | None, there: Mapping[str, Path], drawn: Drawing) -> Sample | Excluded:
    told = {"key": item.key, "label": item.label_id}
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
    shapes = [_exact(box, corners.get(box.region_id)) for box in item.boxes]
    others = [shape for shape in raw.shapes if shape.kind != RECTANGLES]
    gone = [shape for shape in others if classes.knows(shape.label) and classes.read(shape.label) is None]
    shapes += [shape._replace(label=classes.read(shape.label) or shape.label) for shape in others if shape not in gone]
    dropped += [Exclusion(shape.region_id, classes.why_not(shape.label)) for shape in gone]
    told = {region["region_id"] for region in item.dropped} | {shape.region_id for shape in shapes}
    left = [*dropped, *(one for one in raw.exclusions if one.region_id not in told)]
    return Drawing(size, shapes, raw.marks, raw.choices, left, len(shapes) + len(raw.marks) + len(left))


def _upright(box: LabelledBox) -> Shape:
    corners = rectangle(box.box.x1, box.box.y1, box.box.width, box.box.height, 0)
    return Shape(box.label, RECTANGLES, corners, box.region_id, corners)


def _exact(box: LabelledBox, raw: Shape | None) -> Shape:
    """The label's box; its turned corners where it is what encloses the region that was drawn."""
    if raw is None or max(abs(a - b) for a, b in zip(box_of(raw.outline).as_tuple(), box.box.as_tuple(), strict=True)) > SAME:
        return _upright(box)
    return raw._replace(label=box.label)


def _results(database: Database, ids: Sequence[int]) -> dict[int, Sequence[Any]]:
    """What the annotations drew from which these labels are, as Label Studio keeps it."""
    query = select(Label.id, AnnotationRevision.body).join(AnnotationRevision, AnnotationRevision.id == Label.annotation_revision_id)
    with database.read() as session:
        found = session.execute(query.where(Label.id.in_(ids))).tuples()
        return {label: body["result"] for label, body in found if isinstance(body.get("result"), list)}
