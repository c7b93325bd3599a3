"""Tasks that any Label Studio exported as JSON, as a folder that ultralytics reads: no home, no server, nothing that runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from console.export import class_ids, demand_images, ours, written
from labelwheel.errors import InputError, LabelwheelError
from labelwheel.settings import Settings
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.drawing import Canvas
from labelwheel.vision.label_config import answering_tags
from retrain.dataset.folder import Folder
from retrain.dataset.format import Format
from retrain.dataset.pictures import Pictures
from retrain.dataset.tasks import load, samples, uncollected

CLASSES_CURE = "Name a data.yaml, a manifest.json or a classes.txt of an earlier export."
LISTS = ("", ".txt", ".names")  # suffixes of files with a name a line: of any other, the lines may be anything


def export_tasks(
    source: Path,
    config: Path,
    folder: Path,
    form: Format,
    settings: Settings,
    *,
    images_root: Path | None = None,
    images: bool = True,
    classes: Path | None = None,
    beat: Callable[[int], object] = lambda total: None,
) -> dict[str, Any]:
    """Write the tasks of `source`, a JSON export, as `folder`; an earlier export there is replaced. Returns what it holds, counted.

    Class ids follow `classes`, else the export that `folder` holds, else the label config; what is new is appended. Images are looked for below
    `images_root`, else beside `source`. Raises InputError for files that cannot be used, and where no task can be exported; a bad one is
    excluded and named.
    """
    demand_images(form, images)
    if images_root and not images_root.is_dir():
        raise InputError(f"{images_root} is no folder.", "Name the folder below which the images lie, or leave --images-root out.")
    folder, canvas = ours(folder), Canvas(answering_tags(_text(config)))
    earlier = folder / "manifest.json"
    known = read_classes(classes or earlier) if classes or earlier.exists() else ClassMap()
    made = Folder(form, class_ids(form, canvas, known), canvas.skeleton)
    look = Pictures(images_root or source.parent, settings) if images else None
    with uncollected():
        tasks = load(source)
        return written(made.files(samples(tasks, canvas, look)), made, folder, lambda: beat(len(tasks)))


def read_classes(file: Path) -> ClassMap:
    """The class ids that a file states: `names` of a data.yaml or manifest.json, or one name a line. Raises InputError."""
    if file.suffix.lower() not in (".json", ".yaml", ".yml", *LISTS):
        raise InputError(f"{file} is no list of classes.", CLASSES_CURE)
    text = _text(file)
    try:
        return _numbered(_names(text, file.suffix.lower()))
    except (ValueError, LookupError, TypeError, yaml.YAMLError, LabelwheelError) as error:
        raise InputError(f"{file} names no classes: {error!r}", CLASSES_CURE) from error


def _names(text: str, suffix: str) -> Any:
    if suffix == ".json":
        return json.loads(text)["names"]
    if suffix in (".yaml", ".yml"):
        return yaml.safe_load(text)["names"]
    return text.strip().splitlines()


def _numbered(names: Any) -> ClassMap:
    if not isinstance(names, list | dict):
        raise TypeError("its names are no list")
    return ClassMap(tuple(str(names[number]).strip() for number in range(len(names))))  # ids have no gaps


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}.", "Name a text file that is there.") from error
