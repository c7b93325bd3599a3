"""Ten thousand tasks with eighty thousand boxes from JSON to label files: the command's own function, and the SDK's converter, untouched.

Both read the same file and write as many label files to the same disk; the goal is ten times the converter's pace.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from console.from_json import export_tasks
from labelwheel.settings import Settings
from retrain.dataset.format import Format
from tests.fixtures import figures
from tests.fixtures.label_studio import LABEL_CONFIG
from tests.fixtures.line import LABELS

pytestmark = pytest.mark.timeout(1200)

TASKS, BOXES, ROUNDS = int(os.environ.get("BENCH_EXPORT_TASKS", "10000")), 8, 2


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    """The JSON as Label Studio exports it; half of the boxes are turned."""
    rng, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("tasks")
    (folder / "tasks.json").write_text(json.dumps([_task(number, rng) for number in range(1, TASKS + 1)]))
    (folder / "config.xml").write_text(LABEL_CONFIG)
    return folder


def _task(number: int, rng: np.random.Generator) -> dict[str, Any]:
    moment = {"created_at": "2026-11-23T08:00:00.000000Z", "updated_at": "2026-11-23T08:00:00.000000Z"}
    result = [
        _region(f"r{number}-{place}", *rng.uniform(0, 1, 5).tolist(), int(rng.integers(len(LABELS))), place) for place in range(BOXES)
    ]
    annotation = {"id": number, "completed_by": 1, "result": result, "was_cancelled": False, "ground_truth": False, **moment}
    return {
        "id": number,
        "data": {"image": f"/data/upload/1/{number:08x}-image.jpg"},
        "annotations": [annotation],
        "predictions": [],
        **moment,
    }


def _region(identity: str, x: float, y: float, w: float, h: float, turn: float, label: int, place: int) -> dict[str, Any]:
    value = {"x": 25 + 50 * x, "y": 25 + 50 * y, "width": 2 + 18 * w, "height": 2 + 18 * h, "rotation": 360 * turn if place % 2 else 0}
    return {
        "id": identity,
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 640,
        "original_height": 480,
        "image_rotation": 0,
        "value": {**value, "rectanglelabels": [LABELS[label]]},
    }


def _theirs(source: Path, out: Path) -> None:
    from label_studio_sdk.converter import Converter

    converter = Converter(config=LABEL_CONFIG, project_dir=str(source), download_resources=False)
    converter.convert_to_yolo(str(source / "tasks.json"), str(out), is_dir=False)


def _ours(source: Path, out: Path) -> None:
    export_tasks(source / "tasks.json", source / "config.xml", out, Format.yolo, Settings(home=source / "home"), images=False)


def _seconds(act: Callable[[Path, Path], None], source: Path, out: Path) -> tuple[float, float]:
    """Wall and CPU seconds. What the test process has loaded is out of the collector's sight, for both, and `out` is not there yet."""
    gc.collect()
    gc.freeze()
    wall, cpu = time.perf_counter(), time.process_time()
    act(source, out)
    return time.perf_counter() - wall, time.process_time() - cpu


def test_ten_thousand_tasks(source: Path, tmp_path: Path, seed: int) -> None:
    from label_studio_sdk.converter import Converter  # loading it takes seconds, and is not measured

    logging.getLogger(Converter.__module__).setLevel(logging.CRITICAL)
    found: dict[str, Any] = {"seed": seed, "tasks": TASKS, "boxes": TASKS * BOXES, "rounds": ROUNDS}
    # Each writes into a new folder: to make ten thousand files where as many were just removed takes twice as long.
    rounds = [[_seconds(act, source, tmp_path / f"{act.__name__}-{turn}") for act in (_theirs, _ours)] for turn in range(ROUNDS)]
    for place, name in enumerate(("wall", "cpu")):
        theirs, ours = (min(one[who][place] for one in rounds) for who in (0, 1))
        found[name] = {"sdk_seconds": round(theirs, 2), "our_seconds": round(ours, 2), "times": round(theirs / ours, 2)}
    labels = (tmp_path / "_ours-0/labels/train").glob("*.txt")
    assert sum(len(path.read_text().splitlines()) for path in labels) == TASKS * BOXES
    figures.write("bench/export.json", found)
