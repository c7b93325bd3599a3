"""A dataset as a folder that ultralytics reads: images, label files, data.yaml, and a manifest that accounts for every label.

Files are copies, never links into the image store: ultralytics mends truncated JPEGs in place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labelwheel.storage import ImageStore
from retrain.dataset.content import Excluded, Item, Plan
from retrain.dataset.folder import FOLDERS, File
from retrain.dataset.own import picture, stem


def write(plan: Plan, store: ImageStore, folder: Path, beat: Callable[[], object] = lambda: None) -> Path:
    """Write the plan as `folder`, whole or not at all; a folder that is there already is kept. Returns its data.yaml.

    `beat` is called after each image. Raises DatasetError when an image is gone or cannot be read.
    """
    if not folder.exists():
        draft = folder.with_name(f".{folder.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        for item, text in zip(plan.items, plan.texts, strict=True):
            image_file(item, store).put(draft)
            label_file(item, text).put(draft)
            beat()
        for file in index_files(plan):
            file.put(draft)
        draft.replace(folder)
    return folder / "data.yaml"


def image_file(item: Item, store: ImageStore) -> File:
    """The item's image, upright. Raises DatasetError when it is gone or cannot be read."""
    content, suffix = picture(item, store)
    return File(f"images/{FOLDERS[item.split]}/{stem(item)}{suffix}", content)


def label_file(item: Item, text: str) -> File:
    """The item's boxes, as `Plan.texts` has them."""
    return File(_label_file(item), text.encode())


def index_files(plan: Plan) -> list[File]:
    """`data.yaml`, by which ultralytics finds the rest, and `manifest.json`."""
    judged = "holdout" if plan.only("holdout") else "train"  # ultralytics demands a val set; nothing is chosen by it
    trained = "train" if plan.only("train", "replay") else judged
    data = {"train": f"images/{trained}", "val": f"images/{judged}", "names": list(plan.class_map.labels)}
    # JSON is YAML; without `path`, folders count from data.yaml, so the dataset may move.
    return [File("data.yaml", _json(data)), File("manifest.json", _json(manifest(plan)))]


def _json(content: Any) -> bytes:
    lines = (f" {json.dumps(key)}: {_value(value)}" for key, value in content.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _value(content: Any) -> str:
    """On one line; a list of objects has one line for each."""
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return json.dumps(content, ensure_ascii=False)
    return "[\n  " + ",\n  ".join(json.dumps(entry, ensure_ascii=False) for entry in content) + "\n ]"


def manifest(plan: Plan) -> dict[str, Any]:
    """What became of every label: `items`, one each, with status labeled, background or excluded."""
    entries = [_entry(item) for item in plan.items] + [_excluded(item) for item in plan.excluded]
    known = {"content_hash": plan.content_hash, "holdout": plan.holdout, "names": list(plan.class_map.labels)}
    return {**known, "retired": sorted(plan.class_map.retired), "counts": plan.counts(), "items": entries}


def _entry(item: Item) -> dict[str, Any]:
    return {
        "task": item.task,
        "key": item.key,
        "image": item.sha256,
        "label": item.label_id,
        "status": "labeled" if item.boxes else "background",
        "labels": _label_file(item),
        "split": item.split,
        "regions_in": len(item.boxes) + len(item.dropped),
        "regions_out": len(item.boxes),
        "dropped": [dict(region) for region in item.dropped],
    }


def _excluded(item: Excluded) -> dict[str, Any]:
    same = {"task": item.task, "key": item.key, "image": item.sha256, "label": item.label_id}
    return {**same, "status": "excluded", "reason": item.reason, "labels": None, "split": None}


def _label_file(item: Item) -> str:
    return f"labels/{FOLDERS[item.split]}/{stem(item)}.txt"
