"""What the second dataset version costs: choosing the labels, DVC, the rows. Only ten of its labels are new.

    .venv/bin/python -m pytest tests/benchmarks/test_dataset.py -s

`BENCH_DATASET` (2000) images with 8 boxes each, of two sizes: the first version costs by the byte, the second by the label. Imports are done
before, and what they left behind is out of the collector's sight: in a test process its walks over that take longer than the export. The
stages of each version are also told apart: `choose` reads the database, `add` writes to DVC's cache, `check_out` makes the folder of links for
a training.
"""

from __future__ import annotations

import gc
import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sqlalchemy import insert, select

from labelwheel.database import Database
from labelwheel.database.tables import AnnotationRevision, Capture, ClassMap, Image, Label, Project
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision.image import digest
from retrain.dataset import content, version
from retrain.dataset.add import add
from tests.fixtures import figures
from tests.integration.retrain.conftest import database, project, settings

__all__ = ["database", "project", "settings"]  # fixtures

IMAGES = int(os.environ.get("BENCH_DATASET", "2000"))
NEW, BOXES = 10, 8
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (1600, 1200)])
def test_a_second_version(database: Database, settings: Settings, project: Project, tmp_path: Path, width: int, height: int) -> None:
    size = width, height
    random = np.random.default_rng(seed := int(np.random.SeedSequence().generate_state(1)[0]))
    print(f"\nseed {seed}")
    store, root = ImageStore(settings.images_dir), settings.home / "datasets"
    warm_up(database, project, store, tmp_path / "warm-up", random)
    label(database, project, store, IMAGES, random, size)
    first = export(database, project, store, root)
    label(database, project, store, NEW, random, size)
    second = export(database, project, store, root)
    nothing = export(database, project, store, root)
    found = {"images": IMAGES, "size": size, "new": NEW, "bytes": sum(file.stat().st_size for file in store.root.rglob("*.jpg"))}
    ratios = {f"ratio_{name}": round(second[name] / first[name], 4) for name in ("export", "add", "export_cpu", "add_cpu")}
    figures.write(f"bench/dataset-{width}x{height}.json", {**found, "first": first, "second": second, "nothing_new": nothing, **ratios})
    assert second["objects"] - first["objects"] == 2 * NEW + 2 and nothing["objects"] == second["objects"]
    shutil.rmtree(settings.home)  # gigabytes


def export(database: Database, project: Project, store: ImageStore, root: Path) -> dict[str, Any]:
    """Seconds of a run's export, as `retrain.run.stages.export` does it; then those of the folder."""
    seconds: dict[str, float] = {}
    cpu: dict[str, float] = {}

    def timed(name: str, act: Callable[[], Any]) -> Any:
        began, worked = time.perf_counter(), time.process_time()
        found = act()
        seconds[name], cpu[name] = round(time.perf_counter() - began, 4), round(time.process_time() - worked, 4)
        return found

    def choose() -> content.Plan:
        with database.read() as session:
            return content.plan(session, project.id, classes(session), replay=None, seed=1)

    def remember(dvc_hash: str) -> None:
        with database.write() as session:
            content.remember(session, project.id, classes(session), plan, "datasets/x", dvc_hash)

    def classes(session: Any) -> ClassMap:
        return session.scalars(select(ClassMap).where(ClassMap.project_id == project.id)).one()

    gc.collect()
    gc.freeze()
    plan = timed("choose", choose)
    dvc_hash = timed("add", lambda: add(plan, store, root))
    timed("remember", lambda: remember(dvc_hash))
    whole = {"export": round(sum(seconds.values()), 4), "export_cpu": round(sum(cpu.values()), 4), "add_cpu": cpu["add"]}
    timed("check_out", lambda: version.check_out(root, plan.content_hash))
    version.drop(root, plan.content_hash)
    return {**whole, **seconds, "objects": sum(path.is_file() for path in (root / version.CACHE).rglob("*"))}


def warm_up(database: Database, project: Project, store: ImageStore, root: Path, random: np.random.Generator) -> None:
    with database.write() as session:
        other = Project(ls_url="other", ls_project_id=2, title="other", label_config="<View/>", salt="s")
        session.add(other)
        session.flush()
        session.add(ClassMap(project_id=other.id, version=1, labels=["disc", "square"]))
    label(database, other, store, 3, random, (64, 48))
    export(database, other, store, root)


def label(database: Database, project: Project, store: ImageStore, count: int, random: np.random.Generator, size: tuple[int, int]) -> None:
    width, height = size
    rows: dict[type, list[dict[str, Any]]] = {table: [] for table in (Image, Capture, AnnotationRevision, Label)}
    with database.read() as session:
        start = len(session.scalars(select(Image.id)).all())
    for number in range(start, start + count):
        data = cv2.imencode(".jpg", picture(random, size))[1].tobytes()
        sha256, mine = digest(data), {"id": number + 1, "project_id": project.id}
        uri = store.put(data, sha256, ".jpg")
        rows[Image].append({**mine, "sha256": sha256, "width": width, "height": height, "size": len(data), "uri": uri})
        arrival = {"source": f"line-{number % 3}", "external_id": str(number), "captured_at": NOW, "features": {}, "propensity": 0.1}
        rows[Capture].append({**mine, "image_id": number + 1, **arrival, "split": ("train", "holdout")[number % 5 == 0], "audit": False})
        told = {"unique_id": f"u{number}", "updated_at": NOW, "key": f"k{number}", "ls_annotation_id": number, "ls_task_id": number}
        rows[AnnotationRevision].append({**mine, **told, "annotator": "anna", "was_cancelled": False, "body": {}})
        said = {"image_id": number + 1, "annotation_revision_id": number + 1, "boxes": boxes(random, size), "exclusions": []}
        rows[Label].append({**mine, **said, "annotator": "anna", "annotated_at": NOW, "approved_at": NOW})
    with database.write() as session:
        for table, values in rows.items():
            session.execute(insert(table), values)


def picture(random: np.random.Generator, size: tuple[int, int]) -> Any:
    noise = random.integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    return cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)


def boxes(random: np.random.Generator, size: tuple[int, int]) -> list[dict[str, Any]]:
    corners = (random.uniform(0, 0.8, (BOXES, 2)) * size).round(2).tolist()
    return [{"label": ("disc", "square")[n % 2], "box": [x, y, x + 5, y + 4], "region_id": f"r{n}"} for n, (x, y) in enumerate(corners)]
