"""What people drew comes back from the files of every format: at an IoU of 0.999 or more, none lost, none swapped, nothing unsaid."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwheel.settings import Settings
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.drawing import Canvas
from labelwheel.vision.label_config import answering_tags
from retrain.dataset.folder import File, Folder
from retrain.dataset.format import Format
from retrain.dataset.pictures import Pictures
from retrain.dataset.tasks import Picture, samples
from tests.fixtures import figures
from tests.fixtures.drawn_tasks import CLASSES, CONFIG, Made, make
from tests.fixtures.read_back import expected, iou, is_tight, rows

CANVAS = Canvas(answering_tags(CONFIG))
LEAST = 0.999


@dataclass
class Found:
    """What the comparison counted: regions by format, the lowest overlap of each, the largest distance of a key point in pixels."""

    regions: Counter[str] = field(default_factory=Counter)
    lowest: dict[str, float] = field(default_factory=dict)
    farthest: float = 0.0
    named: Counter[str] = field(default_factory=Counter)


def exported(form: Format, mades: list[Made], look: Pictures | dict[str, Picture]) -> dict[str, File]:
    labels = CANVAS.options if form is Format.cls else CANVAS.labels
    folder = Folder(form, ClassMap(tuple(labels)), CANVAS.skeleton)
    find = look.__getitem__ if isinstance(look, dict) else look
    return {file.name: file for file in folder.files(samples([made.task for made in mades], CANVAS, find))}


def compare(form: Format, mades: list[Made], look: dict[str, Picture], found: Found) -> None:
    files = exported(form, mades, look)
    manifest = json.loads(_bytes(files["manifest.json"]))
    assert [item["task"] for item in manifest["items"]] == [made.task["id"] for made in mades]
    for item, made in zip(manifest["items"], mades, strict=True):
        _account(item, made, form, found)
        if form is Format.cls:
            assert item["class"] == made.choice and item["file"].startswith(f"train/{made.choice}/")
        elif item["status"] != "excluded":
            _same(form, _bytes(files[item["labels"]]).decode(), made, found)


def _bytes(file: File) -> bytes:
    return file.content if isinstance(file.content, bytes) else file.content.read_bytes()


def _account(item: dict, made: Made, form: Format, found: Found) -> None:
    assert item["regions_in"] == item["regions_out"] + len(item["dropped"])
    told = {one["region_id"] for one in item["dropped"]}
    points = {f"{region.id}-{name}" for region in made.regions for name in ("head", "tail")}
    assert told >= made.broken
    if form in (Format.pose, Format.coco):
        assert told == made.broken
    elif form is not Format.cls:
        assert told - made.broken <= points
    found.named.update(one["reason"].split(":")[0] for one in item["dropped"])
    if form is not Format.cls:
        expected_status = "labeled" if made.regions else "excluded" if made.broken else "background"
        assert item["status"] == expected_status, item


def _same(form: Format, text: str, made: Made, found: Found) -> None:
    read = rows(form.value, text, made.size)
    assert len(read) == len(made.regions)
    for row, region in zip(read, made.regions, strict=True):
        assert CLASSES[row.class_id] == region.label
        if form is Format.obb and region.turned is None:
            assert is_tight(row.outline, region), (region, row)
            found.regions[f"{form.value} {region.kind}"] += 1
            continue
        overlap = iou(row.outline, expected(form.value, region, made.size))
        assert overlap >= LEAST, (form, region, row, made.size, overlap)
        found.lowest[form.value] = min(found.lowest.get(form.value, 1.0), overlap)
        found.regions[f"{form.value} {region.kind}"] += 1
        if form is Format.pose:
            assert row.points.keys() == region.points.keys()
            for place, spot in row.points.items():
                apart = float(np.abs(np.subtract(spot, region.points[place])).max())
                assert apart < 1e-3
                found.farthest = max(found.farthest, apart)


def looked(mades: list[Made], home: Path) -> dict[str, Picture]:
    """Each image read once, as the export reads it; upright, as its bright corner tells."""
    look = Pictures(home, Settings(home=home))
    found = {made.task["data"]["image"]: look(made.task["data"]["image"]) for made in mades}
    for made in mades:
        picture = found[made.task["data"]["image"]]
        assert picture.size == made.size
        assert isinstance(picture.content, bytes)
        pixels = cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        assert pixels.shape[1::-1] == made.size
        assert pixels[2, 2].min() == 255 and max(pixels[2, -3].max(), pixels[-3, 2].max(), pixels[-3, -3].max()) < 100
    return found


@settings(max_examples=15)
@given(st.integers(0, 2**63))
def test_every_region_comes_back_from_every_format(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    mades = [make(number, seed + number) for number in range(1, 4)]
    look = looked(mades, tmp_path_factory.getbasetemp())
    for form in Format:
        compare(form, mades, look, Found())


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_ten_thousand_tasks_come_back(tmp_path: Path) -> None:
    seed, found, wanted = int(os.environ.get("ROUND_TRIP_SEED") or random.SystemRandom().getrandbits(62)), Found(), 10_000
    print(f"ROUND_TRIP_SEED={seed}")
    for first in range(0, wanted, 100):
        mades = [make(number, seed + number) for number in range(first + 1, first + 101)]
        look = looked(mades, tmp_path)
        for form in Format:
            compare(form, mades, look, found)
    figures.write(
        "prove/export.json",
        {
            "seed": seed,
            "tasks": wanted,
            "regions": dict(sorted(found.regions.items())),
            "lowest_iou": {form: round(value, 6) for form, value in sorted(found.lowest.items())},
            "farthest_key_point_pixels": round(found.farthest, 6),
            "left_out_by_reason": dict(found.named.most_common()),
        },
    )
