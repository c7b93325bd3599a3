"""The labelled folder as photographs: shrunk once to what the network sees, each with its source and its true boxes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any, cast

import cv2

from console.dataset.bring import survey
from console.dataset.found import Sample
from console.demo.folder import source_of
from labelwheel.errors import InputError, LabelwheelError
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision import features, image
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box
from labelwheel.vision.image import Pixels

VISIBLE = 0.4  # of a box's area: less than that is no object of a part


@dataclass(frozen=True, slots=True)
class Photo:
    """One labelled image, or a part of one. `key` is the SHA-256 of its stored pixels' file and its boxes, in pixels of that file.

    `original` is the SHA-256 of the file that it came from, `descriptor` its appearance, as at arrival; neither travels to the trainer.
    """

    key: str
    uri: str
    width: int
    height: int
    source: str
    boxes: tuple[LabelledBox, ...]
    original: str = field(default="", compare=False)
    descriptor: tuple[float, ...] = field(default=(), compare=False, repr=False)

    @property
    def labels(self) -> frozenset[str]:
        return frozenset(box.label for box in self.boxes)


@dataclass(frozen=True)
class Stock:
    """All photographs, the labels in the order of their numbers, and what could not be read, in words."""

    photos: tuple[Photo, ...]
    labels: tuple[str, ...]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """How an image becomes photographs: cut into `parts` × `parts`, each shrunk to `longest` pixels a side."""

    longest: int
    parts: int = 1


def take_stock(folder: Path, store: ImageStore, cut: Cut, settings: Settings) -> Iterator[str | Stock]:
    """Read a labelled folder: the name of each image, and at last the stock.

    An image without labels, a damaged one and one that is there twice are named and left out. Raises InputError when none is left.
    """
    found, sources = survey(folder), exported_sources(folder)
    photos: dict[str, list[Photo]] = {}
    faults = list(found.faults)
    for sample in found.samples:
        yield sample.name
        try:
            original, seen = _read(sample, settings, faults)
            if original in photos:
                raise InputError("the same image is there under another name")
            source = sources.get(sample.path.resolve()) or _source(folder.resolve(), sample)
            photos[original] = [_photo(part, original, source, store, cut) for part in _parts(*seen, cut.parts)]
        except (LabelwheelError, OSError, UnicodeError) as error:  # one bad image never stops the rest
            faults.append(f"{sample.name}: {error}")
    if not photos:
        raise InputError(f"{folder} holds no labelled image. {'; '.join(faults[:3])}", "Name each label file like its image: a.jpg, a.txt.")
    distinct = {photo.key: photo for parts in photos.values() for photo in parts}  # empty parts may be equal to the last bit
    yield Stock(tuple(distinct.values()), found.names, tuple(faults))


def _read(sample: Sample, settings: Settings, faults: list[str]) -> tuple[str, tuple[Pixels, tuple[LabelledBox, ...]]]:
    if sample.draw is None:
        raise InputError("no label is there for it", "An empty label file says that nothing is on the image.")
    data = sample.path.read_bytes()
    pixels = image.decode(data, max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    drawn = sample.draw(pixels.shape[1], pixels.shape[0])
    faults += [f"{sample.name}: {fault}" for fault in drawn.faults]
    return image.digest(data), (pixels, drawn.boxes)


def _parts(pixels: Pixels, boxes: Sequence[LabelledBox], count: int) -> Iterator[tuple[Pixels, tuple[LabelledBox, ...]]]:
    """The image cut into `count` × `count`, each part with the boxes that lie in it by enough."""
    height, width = pixels.shape[:2]
    down, across = ([round(side * number / count) for number in range(count + 1)] for side in (height, width))
    for top, bottom in pairwise(down):
        for left, right in pairwise(across):
            yield pixels[top:bottom, left:right], within(boxes, Box(left, top, right, bottom))


def within(boxes: Iterable[LabelledBox], frame: Box) -> tuple[LabelledBox, ...]:
    """The boxes that a part of an image shows, in its own pixels, clipped to it; without those of which it shows too little. Pure."""
    moved = [(box, Box(box.box.x1 - frame.x1, box.box.y1 - frame.y1, box.box.x2 - frame.x1, box.box.y2 - frame.y1)) for box in boxes]
    clipped = [(box, edges.area, edges.clipped(frame.width, frame.height)) for box, edges in moved]
    return tuple(LabelledBox(box.label, inside) for box, area, inside in clipped if inside.valid and inside.area >= VISIBLE * area)


def _photo(part: tuple[Pixels, tuple[LabelledBox, ...]], original: str, source: str, store: ImageStore, cut: Cut) -> Photo:
    pixels, drawn = part
    small = _shrunk(pixels, cut.longest)
    encoded = cv2.imencode(".png", small)[1].tobytes()
    digest = image.digest(encoded)
    across, down = small.shape[1] / pixels.shape[1], small.shape[0] / pixels.shape[0]
    boxes = tuple(_scaled(box, across, down) for box in drawn)
    uri, appearance = store.put(encoded, digest, ".png"), tuple(float(value) for value in features.descriptor(pixels))
    return Photo(_key(digest, boxes), uri, small.shape[1], small.shape[0], source, boxes, original, appearance)


def _shrunk(pixels: Pixels, longest: int) -> Pixels:
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return pixels
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cast(Pixels, cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def _scaled(box: LabelledBox, across: float, down: float) -> LabelledBox:
    edges = box.box
    return LabelledBox(box.label, Box(edges.x1 * across, edges.y1 * down, edges.x2 * across, edges.y2 * down))


def _key(digest: str, boxes: tuple[LabelledBox, ...]) -> str:
    return hashlib.sha256(json.dumps([digest, [box.as_dict() for box in boxes]]).encode()).hexdigest()


def exported_sources(folder: Path) -> dict[Path, str]:
    """Image file → its source, from the manifest.json of an export of ours, whose folders are splits; {} where there is none to read."""
    try:
        items = json.loads((folder / "manifest.json").read_bytes())["items"]
        return {(folder / item["file"]).resolve(): str(item["source"]) for item in items if item.get("file") and item.get("source")}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # somebody else's file of this name
        return {}


def _source(root: Path, sample: Sample) -> str:
    """By the path below the last folder called `images`, or below the data's folder where there is none."""
    parts = sample.path.relative_to(root).parts
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    return source_of(PurePath(*parts[places[-1] + 1 :] if places else parts))


def photo_as_dict(photo: Photo) -> dict[str, Any]:
    boxes = [[box.label, *box.box.as_tuple()] for box in photo.boxes]
    return {"key": photo.key, "uri": photo.uri, "size": [photo.width, photo.height], "source": photo.source, "boxes": boxes}


def photo_from_dict(data: Mapping[str, Any]) -> Photo:
    """Inverse of `photo_as_dict`."""
    boxes = tuple(LabelledBox(str(label), Box(*map(float, edges))) for label, *edges in data["boxes"])
    width, height = data["size"]
    return Photo(data["key"], data["uri"], width, height, data["source"], boxes)
