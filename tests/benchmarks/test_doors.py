"""The console's large answers, by the real app: pages of 100,000 inspections, and an export of 10,000 images in bounded memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import numpy as np
import psutil
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert

from labelwheel.database import Database
from labelwheel.database.tables import AnnotationRevision, Capture, Image, Label, ModelVersion, Prediction, Project, Table
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision.image import digest
from tests.fixtures import figures, wheel

CAPTURES, EXPORTED = int(os.environ.get("BENCH_CAPTURES", "100000")), int(os.environ.get("BENCH_EXPORTED", "10000"))
NOON, PAGES, BATCH = datetime(2026, 11, 27, 12, tzinfo=UTC), 20, 5000
GROWTH_MB = 64.0

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def client(app: Flask, filled: Project) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {wheel.TOKEN}"
    return client


def put(database: Database, table: type[Table], count: int, row: Callable[[int], dict[str, Any]]) -> None:
    for start in range(0, count, BATCH):
        with database.write() as session:
            session.execute(insert(table), [row(number) for number in range(start, min(start + BATCH, count))])


def image(number: int, **more: Any) -> dict[str, Any]:
    known = {"id": 1000 + number, "project_id": 1, "sha256": f"{number + 10**6:064x}", "width": 640, "height": 480, "size": 1, "uri": "x"}
    return {**known, "created_at": NOON, **more}


def capture(number: int, split: str = "train") -> dict[str, Any]:
    return {
        "project_id": 1, "image_id": 1000 + number, "source": f"line-{number % 10}", "external_id": f"n-{number}", "features": {"brightness": 1},
        "captured_at": NOON - timedelta(seconds=number), "received_at": NOON, "split": split, "audit": False, "propensity": 0.1,
        "descriptor": bytes(128),
    }  # fmt: skip


@pytest.mark.parametrize("share", [0.9, 0.01], ids=["most are uncertain", "one in a hundred is"])
def test_pages_of_inspections(database: Database, client: FlaskClient, share: float) -> None:
    rng = np.random.default_rng()
    with database.read() as session:
        model = session.query(ModelVersion).order_by(ModelVersion.id.desc()).first()
    assert model is not None

    def prediction(number: int) -> dict[str, Any]:
        sure = rng.uniform(0.8, 0.99, 8).round(5).tolist()
        confidences = [*sure, 0.55] if rng.random() < share else sure
        found = [{"label": "dent", "box": [10.0, 10.0, 60.0, 60.0], "confidence": value} for value in confidences]
        known = {"image_id": 1000 + number, "model_version_id": model.id, "count": len(found), "top_confidence": max(confidences)}
        return {**known, "detections": found, "embedding": bytes(512), "created_at": NOON}

    put(database, Image, CAPTURES, image)
    put(database, Capture, CAPTURES, capture)
    put(database, Prediction, CAPTURES, prediction)
    old = quote((NOON - timedelta(seconds=CAPTURES // 2)).isoformat())
    found = {
        name: pages(client, f"/api/inspection-logs?limit=50&{query}")
        for name, query in {
            "newest": "", "of a source": "source=line-3", "of a day long ago": f"until={old}", "uncertain": "uncertain=true",
            "uncertain of a source": "uncertain=true&source=line-3",
        }.items()
    }  # fmt: skip
    figures.write(f"bench/inspections-{share}.json", {"captures": CAPTURES, "uncertain_share": share, "pages": found})
    assert all(entry["rows"] for entry in found.values()), found


def pages(client: FlaskClient, address: str) -> dict[str, float]:
    """So many pages, one after the other: milliseconds, and rows found."""
    seconds, rows, after = [], 0, ""
    for _ in range(PAGES):
        began = time.perf_counter()
        page = client.get(address + after).json
        seconds.append(time.perf_counter() - began)
        rows += len(page["items"])
        if page["next"] is None:
            break
        after = f"&after={quote(page['next'])}"
    return {
        "p50_ms": round(1000 * float(np.median(seconds)), 1),
        "p95_ms": round(1000 * float(np.quantile(seconds, 0.95)), 1),
        "rows": rows,
    }


def test_an_export_of_many_images_takes_no_more_memory_than_its_list(database: Database, settings: Settings, client: FlaskClient) -> None:
    rng, store = np.random.default_rng(), ImageStore(settings.images_dir)
    stored: list[dict[str, Any]] = []
    for number in range(EXPORTED):
        data = b"BM" + bitmap(rng)
        sha256 = digest(data)
        stored.append(image(number, sha256=sha256, uri=store.put(data, sha256, ".bmp"), size=len(data), width=80, height=80))
    put(database, Image, EXPORTED, lambda number: stored[number])
    put(database, Capture, EXPORTED, lambda number: capture(number, "train" if number % 5 else "holdout"))
    put(database, AnnotationRevision, EXPORTED, revision)
    put(database, Label, EXPORTED, label)
    with Watched() as labels_only:
        assert drained(client, "/api/labeling-queue/export?images=false")[0] > 0
    with Watched() as watched:
        size, first_ms, seconds = drained(client, "/api/labeling-queue/export")
    found = {
        "images": EXPORTED, "megabytes": round(size / 2**20, 1), "first_byte_ms": first_ms, "seconds": seconds,
        "grown_mb_list_only": labels_only.grown_mb, "grown_mb": watched.grown_mb, "bound_mb": GROWTH_MB,
    }  # fmt: skip
    figures.write("bench/export.json", found)
    assert watched.grown_mb < GROWTH_MB < size / 2**20, found


def bitmap(rng: np.random.Generator) -> bytes:
    """The rest of a 24-bit BMP of 80 × 80, whose noise no archive can shrink."""
    head = (54 + 19200).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    size = (80).to_bytes(4, "little") * 2 + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)
    return head + size + rng.integers(0, 256, 19200, np.uint8).tobytes()


def revision(number: int) -> dict[str, Any]:
    known = {
        "id": 10**5 + number,
        "project_id": 1,
        "unique_id": f"x{number}",
        "updated_at": NOON,
        "key": f"x{number}",
        "ls_annotation_id": number,
    }
    return {**known, "ls_task_id": number, "annotator": "anna", "was_cancelled": False, "body": {}, "seen_at": NOON}


def label(number: int) -> dict[str, Any]:
    boxes = [{"label": "dent", "box": [1.0, 2.0, 30.0, 40.0], "region_id": "r", "origin": "manual"}] * 3
    known = {"project_id": 1, "image_id": 1000 + number, "annotation_revision_id": 10**5 + number, "boxes": boxes, "exclusions": []}
    return {**known, "annotator": "anna", "annotated_at": NOON, "approved_at": NOON, "created_at": NOON}


def drained(client: FlaskClient, address: str) -> tuple[int, float, float]:
    """Bytes of an answer, read and thrown away; milliseconds to the first, and seconds to the last."""
    began, size, first = time.perf_counter(), 0, 0.0
    answer = client.get(address)
    for piece in answer.response:
        first = first or time.perf_counter() - began
        size += len(piece)
    return size, round(1000 * first, 1), round(time.perf_counter() - began, 2)


class Watched:
    """How far this process grew at most, in megabytes."""

    def __enter__(self) -> Watched:
        self._process, self._done = psutil.Process(), threading.Event()
        self._before = self._most = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def grown_mb(self) -> float:
        return round((self._most - self._before) / 2**20, 1)

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self._most = max(self._most, self._process.memory_info().rss)
