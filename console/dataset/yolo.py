"""A folder in YOLO's layout: data.yaml (or classes.txt), images, and beside each `images` folder a `labels` folder.

data.yaml           names; train, val and test: folders or .txt lists of images, counted from `path` or from the file
images/…/a.jpg      labels/…/a.txt: lines of `class cx cy width height`, shares of the upright image; a polygon becomes the box
                    around it
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from console.dataset.found import Drawn, Found, Sample, distinct, settle
from console.items import SUFFIXES
from labelwheel.errors import InputError
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import enclosing, yolo_to_box

SPLITS = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}
SLACK = 0.01  # ultralytics' own: shares may leave 0..1 by so much
CONFIGS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


def read(folder: Path) -> Found | None:
    """The dataset of a folder; None when it is not in this layout. Raises InputError for a config that cannot be used."""
    config = next((folder / name for name in CONFIGS if (folder / name).is_file()), None)
    if config is not None:
        return _by_config(folder, config)
    return _by_classes(folder) if (folder / "classes.txt").is_file() else None


def parse(text: str, names: Mapping[int, str], width: int, height: int) -> Drawn:
    """Boxes of a label file, in pixels; each line that gives none is named with its reason. Pure."""
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), start=1)]
    outcomes = [(number, _box(fields, names, width, height)) for number, fields in lines if fields]
    boxes = [outcome for _, outcome in outcomes if isinstance(outcome, LabelledBox)]
    return Drawn(distinct(boxes), tuple(f"line {number}: {outcome}" for number, outcome in outcomes if isinstance(outcome, str)))


def _box(fields: Sequence[str], names: Mapping[int, str], width: int, height: int) -> LabelledBox | str:
    try:
        class_id, values = int(fields[0]), [float(field) for field in fields[1:]]
    except ValueError:
        return "not a class id and numbers"
    if class_id not in names:
        return f"class {class_id} has no name"
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        return f"{len(values)} numbers after the class; 4 make a box, 6 or more in pairs a polygon"
    if not all(math.isfinite(value) and -SLACK <= value <= 1 + SLACK for value in values):
        return "numbers that are no shares of the image (0 to 1)"
    if len(values) == 4:
        box = yolo_to_box(values[0], values[1], values[2], values[3], width, height)
    else:
        box = enclosing([(x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)])
    return settle(names[class_id], box, width, height) or "no area inside the image"


def _by_config(folder: Path, config: Path) -> Found:
    try:
        data = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{config.name} cannot be read: {error}", "Mend its YAML.") from error
    names = _names(data.get("names") if isinstance(data, dict) else None, config)
    faults: list[str] = []
    paths: dict[Path, str | None] = {}
    for split, keys in SPLITS.items():
        for given in _entries(data, keys):
            images = _images_of(folder, data.get("path"), given)
            if not images:
                faults.append(f"{config.name}: {split} names {given!r}, where no image is below the folder")
            paths |= {path: split for path in images if path not in paths}  # an image in two splits is the first's: train
    if not any(_entries(data, keys) for keys in SPLITS.values()):
        paths = dict.fromkeys(_below(folder))
    return _found(folder, names, paths, faults)


def _by_classes(folder: Path) -> Found:
    lines = (folder / "classes.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    names = dict(enumerate(line.strip() for line in lines if line.strip()))
    return _found(folder, names, dict.fromkeys(_below(folder)), [])


def _found(folder: Path, names: Mapping[int, str], paths: Mapping[Path, str | None], faults: Sequence[str]) -> Found:
    samples = [_sample(folder, path, split, names) for path, split in sorted(paths.items())]
    return Found(tuple(dict.fromkeys(names[class_id] for class_id in sorted(names))), tuple(samples), tuple(faults))


def _sample(folder: Path, path: Path, split: str | None, names: Mapping[int, str]) -> Sample:
    label = _label_file(folder, path)
    draw = partial(_draw, label, names) if label.is_file() else None
    return Sample(path, path.relative_to(folder).as_posix(), split, draw)


def _draw(label: Path, names: Mapping[int, str], width: int, height: int) -> Drawn:
    return parse(label.read_text(encoding="utf-8"), names, width, height)


def _label_file(folder: Path, path: Path) -> Path:
    """The last folder called `images` on the way becomes `labels`; without one, the label lies beside the image."""
    parts = list(path.relative_to(folder).with_suffix(".txt").parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return folder.joinpath(*parts)


def _names(given: Any, config: Path) -> dict[int, str]:
    pairs = dict(enumerate(given)) if isinstance(given, list) else given
    try:
        names = {int(class_id): str(name).strip() for class_id, name in pairs.items()}
    except (AttributeError, TypeError, ValueError):
        names = {}
    if not names or not all(names.values()):
        raise InputError(f"{config.name} names no classes.", "Give it `names`: a list, or numbers with names.")
    return names


def _entries(data: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    given: Any = next((data[key] for key in keys if data.get(key)), [])
    return [str(entry) for entry in (given if isinstance(given, list) else [given])]


def _images_of(folder: Path, root: Any, given: str) -> list[Path]:
    """Images of one entry of a split. Exports often count from elsewhere (`path: ../datasets/x`, `train: ../train/images`): what lies
    outside of the folder is not read, and tried again as counted from the folder itself."""
    bases = [folder / str(root or ""), folder]
    stripped = Path(*[part for part in Path(given).parts if part not in ("..", "/")])
    for candidate in [*(base / given for base in bases), folder / stripped]:
        place = Path(os.path.normpath(candidate))
        if place.is_relative_to(folder) and place.exists():
            return _listed(folder, place) if place.suffix == ".txt" else _below(place)
    return []


def _listed(folder: Path, listing: Path) -> list[Path]:
    lines = (line.strip() for line in listing.read_text(encoding="utf-8", errors="replace").splitlines())
    paths = [Path(os.path.normpath(base / line)) for line in lines if line for base in (listing.parent, folder)]
    return [path for path in dict.fromkeys(paths) if path.is_relative_to(folder) and _is_image(path)]


def _below(place: Path) -> list[Path]:
    return sorted(path for path in _walk(place) if _is_image(path))


def _walk(place: Path) -> Iterator[Path]:
    yield from [place] if place.is_file() else place.rglob("*")


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()
