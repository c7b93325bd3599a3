"""Selection from a pool of 50,000 captures: seconds and memory, beside those of 5,000, on both databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert

from labelwheel.database import Database, migrate
from labelwheel.database.tables import Capture, ClassMap, Decision, Deployment, Image, ModelVersion, Prediction, QueueItem, utcnow
from labelwheel.project import remember_project
from labelwheel.settings import PREFIX
from tests.fixtures import figures
from tests.fixtures.label_studio import LABEL_CONFIG
from tests.fixtures.line import LABELS, line_settings

pytestmark = pytest.mark.timeout(3600)

SIZES, QUEUED, SOURCES, BOXES = (5_000, 50_000), 5_000, 10, 12
PORTION = 1000
SCRIPT = """
import json, resource, time
from labelwheel.database import get_database
from labelwheel.database.tables import utcnow
from labelwheel.settings import get_settings
from sync.select import look_out, select_captures

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

database, settings, seconds = get_database(), get_settings(), []
import sklearn.cluster
before = peak()
for _ in range(3):
    start = time.perf_counter()
    outlook = look_out(database, settings, utcnow(), let_look=False)
    seconds.append(time.perf_counter() - start)
cpu = time.process_time()
look_out(database, settings, utcnow(), let_look=False)
cpu = time.process_time() - cpu
start = time.perf_counter()
chosen = select_captures(database, settings, utcnow())
print(json.dumps({"look_out_seconds": seconds, "look_out_cpu_seconds": cpu, "select_seconds": time.perf_counter() - start, "chosen": chosen,
                  "left_out": dict(outlook.left_out), "peak_mib": peak(), "before_mib": before}))
"""


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_large_pool(engine: str, seed: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found = {}
    for size in SIZES:
        folder = tmp_path / str(size)
        folder.mkdir()
        url = f"sqlite:///{folder / 'labelwheel.db'}" if engine == "sqlite" else str(request.getfixturevalue("postgres").create())
        _fill(url, size, seed)
        found[size] = _measure(folder, url)
        assert found[size]["chosen"] == 200
    figures.write(f"bench/selection-{engine}.json", {"seed": seed, "queued": QUEUED, "sources": SOURCES, "boxes": BOXES, "pool": found})


def _measure(folder: Path, url: str) -> dict[str, Any]:
    told = {
        "HOME": str(folder),
        "DATABASE_URL": url,
        "LABEL_STUDIO_URL": "http://127.0.0.1:8080",
        "REDIS_URL": f"unix://{folder}/silent.sock",
    }
    environment = {**os.environ, **{PREFIX + name: value for name, value in told.items()}}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _fill(url: str, size: int, seed: int) -> None:
    """A pool of `size` captures that a model has looked at, beside those that are queued. Half of the pool is certain."""
    migrate(url)
    database, settings, rng = Database(url), line_settings(Path("/nowhere")), np.random.default_rng(seed)
    with database.write() as session:
        project = remember_project(session, settings.label_studio_name, 7, settings.label_studio_project, LABEL_CONFIG, LABELS)
        class_map = session.query(ClassMap).one()
        model = ModelVersion(
            project_id=project.id, name="m", version=1, onnx_uri="m.onnx", onnx_sha256="0" * 64, weights_uri="", class_map_id=class_map.id
        )
        decision = Decision(project_id=project.id, kind="first_batch", verdict="", reasons=[], inputs={})
        session.add_all([model, decision])
        session.flush()
        session.add(Deployment(project_id=project.id, tag="label", model_version_id=model.id, served_as="m@1"))
    for first in range(1, size + QUEUED + 1, PORTION):
        numbers = range(first, first + PORTION)
        with database.write() as session:
            for table, rows in _rows(project.id, model.id, decision.id, numbers, rng):
                session.execute(insert(table), rows)
    database.dispose()


def _rows(project_id: int, model_id: int, decision_id: int, numbers: range, rng: np.random.Generator) -> Iterator[tuple[Any, list[Any]]]:
    now = utcnow()
    vectors = rng.normal(0, 0.1, (PORTION, 96)).astype(np.float32)
    embeddings = rng.normal(0, 1, (PORTION, 256)).astype(np.float16)
    yield (
        Image,
        [
            {"id": n, "project_id": project_id, "sha256": f"{n:064x}", "width": 640, "height": 640, "size": 1, "uri": str(n)}
            for n in numbers
        ],
    )
    yield Capture, [
        {
            "id": n, "project_id": project_id, "image_id": n, "source": f"line-{n % SOURCES}", "external_id": str(n), "captured_at": now,
            "received_at": now, "features": {}, "descriptor": vectors[place].tobytes(), "split": "train", "audit": False, "propensity": 0.1,
        }
        for place, n in enumerate(numbers)
    ]  # fmt: skip
    yield Prediction, [
        {
            "image_id": n, "model_version_id": model_id, "detections": _boxes(rng, n % 2 == 0), "count": BOXES, "top_confidence": 0.9,
            "embedding": embeddings[place].tobytes(),
        }
        for place, n in enumerate(numbers)
    ]  # fmt: skip
    queued = [n for n in numbers if n <= QUEUED]
    if queued:
        yield QueueItem, [
            {
                "project_id": project_id, "image_id": n, "capture_id": n, "round": 1, "status": "approved", "reason": "novelty", "priority": 0.5,
                "scores": {}, "decision_id": decision_id,
            }
            for n in queued
        ]  # fmt: skip


def _boxes(rng: np.random.Generator, certain: bool) -> list[dict[str, Any]]:
    corners, sides = rng.integers(0, 560, (BOXES, 2)), rng.integers(10, 80, (BOXES, 2))
    confidences = rng.uniform(0.96, 1, BOXES) if certain else rng.uniform(0.05, 1, BOXES)
    return [
        {"label": LABELS[place % 2], "box": [*map(float, corner), *map(float, corner + side)], "confidence": round(float(confidence), 5)}
        for place, (corner, side, confidence) in enumerate(zip(corners, sides, confidences, strict=True))
    ]
