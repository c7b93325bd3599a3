"""A folder with COCO files: JSON with `images`, `annotations` and `categories`, and the images somewhere near."""

from __future__ import annotations

import json
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from console.dataset.found import Drawn, Found, Sample, distinct, settle
from labelwheel.errors import InputError
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box

PARTS = ("images", "annotations", "categories")
SPLITS = {"train": "train", "val": "val", "test": "test"}  # what a file's or folder's name begins with, after `instances_`


def read(folder: Path) -> Found | None:
    """The dataset of a folder; None when no COCO file is there."""
    files = [(path, data) for path in _candidates(folder) if (data := _load(path))]
    if not files:
        return None
    faults: list[str] = []
    samples: dict[str, Sample] = {}
    names: dict[str, None] = {}
    for path, data in files:
        categories = {_key(entry, "id"): str(entry.get("name", "")).strip() for entry in _dicts(data["categories"])}
        drawn = _by_image(data["annotations"])
        used = {_key(entry, "category_id") for entries in drawn.values() for entry in entries}
        names |= dict.fromkeys(name for identity, name in categories.items() if identity in used and name)
        for entry in _dicts(data["images"]):
            sample = _sample(folder, path, entry, drawn.get(_key(entry, "id"), []), categories)
            if sample is None or sample.name in samples:
                why = "is not below the folder" if sample is None else "is listed twice"
                faults.append(f"{path.name}: {str(entry.get('file_name'))!r} {why}")
            else:
                samples[sample.name] = sample
    return Found(tuple(names), tuple(samples.values()), tuple(faults))


def parse(annotations: Sequence[Mapping[str, Any]], categories: Mapping[int | str, str], width: int, height: int) -> Drawn:
    """Boxes of one image's annotations, in pixels; each annotation that gives none is named with its reason. Pure."""
    outcomes = [(entry.get("id"), _box(entry, categories, width, height)) for entry in annotations]
    boxes = [outcome for _, outcome in outcomes if isinstance(outcome, LabelledBox)]
    return Drawn(distinct(boxes), tuple(f"annotation {identity}: {outcome}" for identity, outcome in outcomes if isinstance(outcome, str)))


def _box(entry: Mapping[str, Any], categories: Mapping[int | str, str], width: int, height: int) -> LabelledBox | str:
    label = categories.get(_key(entry, "category_id"))
    if not label:
        return f"category {entry.get('category_id')!r} has no name"
    if entry.get("iscrowd"):
        return "a crowd, not one object"
    try:
        x, y, across, down = (float(value) for value in entry.get("bbox") or ())
    except (TypeError, ValueError):
        return "no bbox of four numbers"
    if not all(map(math.isfinite, (x, y, across, down))) or across <= 0 or down <= 0:
        return "a bbox without area"
    return settle(label, Box(x, y, x + across, y + down), width, height) or "no area inside the image"


def _candidates(folder: Path) -> list[Path]:
    return sorted({path for pattern in ("*.json", "*/*.json") for path in folder.glob(pattern) if path.is_file()})


def _load(path: Path) -> dict[str, Any] | None:
    """The content of a COCO file with boxes; None for any other JSON."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and all(isinstance(data.get(part), list) for part in PARTS) else None


def _dicts(entries: Sequence[Any]) -> Iterator[dict[str, Any]]:
    return (entry for entry in entries if isinstance(entry, dict))


def _key(entry: Mapping[str, Any], name: str) -> int | str:
    """An id as it stands; what is no id leads nowhere."""
    value = entry.get(name)
    return value if isinstance(value, int | str) else f"no {name}"


def _by_image(annotations: Sequence[Any]) -> dict[int | str, list[dict[str, Any]]]:
    found: dict[int | str, list[dict[str, Any]]] = defaultdict(list)
    for entry in _dicts(annotations):
        found[_key(entry, "image_id")].append(entry)
    return found


def _sample(
    folder: Path, source: Path, entry: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]], categories: Mapping[int | str, str]
) -> Sample | None:
    split = _split(folder, source)
    path = _image(folder, source, str(entry.get("file_name") or ""))
    if path is None:
        return None
    draw = partial(_draw, annotations, categories, (entry.get("width"), entry.get("height")))
    return Sample(path, path.relative_to(folder).as_posix(), split, draw, _moment(entry.get("date_captured")))


def _draw(
    annotations: Sequence[Mapping[str, Any]], categories: Mapping[int | str, str], size: tuple[Any, Any], width: int, height: int
) -> Drawn:
    """COCO's boxes are in pixels of the size that it states; of a picture that EXIF turns this may be the lying one."""
    if all(isinstance(side, int) and side > 0 for side in size) and size != (width, height):
        told = f"The file says {size[0]} × {size[1]}, the upright image has {width} × {height} pixels."
        raise InputError(told, "Write the boxes for the upright image.")
    return parse(annotations, categories, width, height)


def _image(folder: Path, source: Path, name: str) -> Path | None:
    stem = source.stem.partition("_")[2]  # instances_train2017.json stands beside a folder train2017
    roots = [source.parent, folder, folder / "images", folder / stem, folder / "images" / stem]
    for root in roots if name else []:
        path = Path(os.path.normpath(root / name))
        if path.is_relative_to(folder) and path.is_file():
            return path
    return None


def _split(folder: Path, source: Path) -> str | None:
    words = [*source.relative_to(folder).parent.parts, source.stem.partition("_")[2], source.stem]
    return next((split for word in words for key, split in SPLITS.items() if word.lower().startswith(key)), None)


def _moment(given: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(given))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
