"""`/predict` of the real server against bare loops without one, and against ultralytics' own `predict`, untouched, in the same run."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwheel.ahead import ahead
from labelwheel.vision import image as vision
from labelwheel.vision.detection import Detection
from labelwheel.vision.detector import Detector
from labelwheel.vision.geometry import iou_matrix
from labelwheel.vision.letterbox import prepare
from tests.benchmarks.conftest import IMAGES, Bench, Trained
from tests.fixtures import figures

pytestmark = pytest.mark.timeout(3600)

ROUNDS, BATCH, FLOOR = 5, 64, 0.05


def test_predict_end_to_end(bench: Bench, trained: Trained, seed: int) -> None:
    """`bare` looks at one image after another with all cores; `lanes` at one on each core, as the server does."""
    detector, urls = Detector(trained.onnx), bench.urls
    acts: dict[str, Callable[[], object]] = {
        "server": lambda: _by_server(bench, urls),
        "bare": lambda: [detector.detect(_pixels(path)) for path in bench.pictures],
        "lanes": lambda: [found.result() for found in ahead(detector.submit, map(_pixels, bench.pictures), detector.lanes)],
        "ultralytics": lambda: [trained.yolo.predict(str(path), verbose=False) for path in bench.pictures],
    }
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(ROUNDS):
        for name, act in acts.items():
            seconds[name].append(_seconds(act))
        bench.forget()
    each = {name: statistics.median(values) / IMAGES for name, values in seconds.items()}
    found = {
        "seed": seed, "images": IMAGES, "rounds": ROUNDS, "cores": os.cpu_count(), "seconds_per_image": each, "all_seconds": seconds,
        "of_bare_loop": each["bare"] / each["server"], "of_loop_in_lanes": each["lanes"] / each["server"],
        "times_ultralytics": each["ultralytics"] / each["server"], "resident_mb": bench.server.memory_info().rss / 2**20,
    }  # fmt: skip
    figures.write("bench/predict.json", found)


def _by_server(bench: Bench, urls: list[str]) -> None:
    for start in range(0, len(urls), BATCH):
        assert all(len(entry) == 1 for entry in bench.ask(urls[start : start + BATCH])), "a task was not answered"


def test_one_task(bench: Bench, trained: Trained, seed: int) -> None:
    """A task opened alone: unseen, beside the model's own time in the same moments; and stored."""
    detector, urls = Detector(trained.onnx), bench.urls[:200]
    bench.forget()
    bench.ask(urls[:1])
    unseen, model, again = [], [], []
    for url, path in zip(urls[1:], bench.pictures[1:], strict=False):
        tensor = prepare(_pixels(path), detector.info)[0]
        unseen.append(_milliseconds(lambda url=url: bench.ask([url])))
        model.append(_milliseconds(lambda tensor=tensor: detector.raw(tensor)))
    for url in urls[1:]:
        again.append(_milliseconds(lambda url=url: bench.ask([url])))
    times = {"unseen": unseen, "model": model, "stored": again}
    middle, p95 = ({name: of(values) for name, values in times.items()} for of in (statistics.median, _p95))
    # A machine with neighbours is late now and then, whoever runs: the model's own p95 is of the same moments.
    allowed = {"of_the_models_median": 1.3 * middle["model"] + 15, "of_the_models_p95": 1.3 * p95["model"] + 15}
    found = {"seed": seed, "tasks": len(unseen), "median_ms": middle, "p95_ms": p95, "unseen_allowed_ms": allowed}
    figures.write("bench/one_task.json", found)


def test_boxes_equal_those_of_ultralytics(bench: Bench, trained: Trained, seed: int) -> None:
    """Of a trained model, all that either finds above the floor."""
    detector, ours, theirs, equal = Detector(trained.onnx, floor=FLOOR), 0, 0, 0
    sure = 0
    for path in bench.pictures:
        mine = detector.detect(_pixels(path)).detections
        other = trained.yolo.predict(str(path), conf=FLOOR, verbose=False)[0].boxes.data.numpy()
        ours, theirs, equal = ours + len(mine), theirs + len(other), equal + _equal(mine, other, detector.labels)
        sure += sum(item.confidence >= 0.25 for item in mine)
    found = {
        "seed": seed,
        "images": IMAGES,
        "ours": ours,
        "theirs": theirs,
        "equal": equal,
        "share": equal / max(ours, theirs),
        "ours_from_0.25": sure,
    }
    figures.write("bench/equal_boxes.json", found)


def _equal(ours: list[Detection], theirs: np.ndarray, labels: tuple[str, ...]) -> int:
    """How many have a partner of the same class with an IoU of 0.99 and a confidence within 0.001; each partner once."""
    if not ours or not len(theirs):
        return 0
    near = iou_matrix([item.box.as_tuple() for item in ours], theirs[:, :4]) >= 0.99
    alike = np.abs(np.array([item.confidence for item in ours])[:, None] - theirs[None, :, 4]) <= 1e-3
    same = np.array([labels.index(item.label) for item in ours])[:, None] == theirs[None, :, 5]
    pairs, taken = near & alike & same, set[int]()
    for row in pairs:
        partner = next((int(column) for column in np.flatnonzero(row) if int(column) not in taken), None)
        taken |= set() if partner is None else {partner}
    return len(taken)


def _pixels(path: Path) -> Any:
    return vision.decode(path.read_bytes(), max_bytes=2**25, max_pixels=2**26)


def _seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def _milliseconds(act: Callable[[], object]) -> float:
    return _seconds(act) * 1000


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]
