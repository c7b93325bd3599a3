"""Push, pull and refresh against the real Label Studio: beside the untouched SDK in the same run, and at two sizes of project."""

from __future__ import annotations

import os
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from label_studio_sdk import LabelStudio as UntouchedSdk
from sqlalchemy import func, insert, select
from sqlalchemy.orm import joinedload

from labelwheel.database import Database, get_database, migrate
from labelwheel.database.tables import Capture, ClassMap, Deployment, Hint, Image, ModelVersion, Prediction, Project, QueueItem, utcnow
from labelwheel.labelstudio import LabelStudio
from labelwheel.labelstudio.provision import ensure_project
from labelwheel.project import remember_project
from labelwheel.settings import Settings
from labelwheel.vision.label_config import pushed_tag
from sync.exchange.desk import open_desk
from sync.exchange.pre_annotate import pre_annotate
from sync.exchange.pull import pull
from sync.exchange.push import push
from sync.exchange.refresh import refresh
from sync.exchange.task import task_payload
from tests.fixtures import figures
from tests.fixtures.bright import write_finder
from tests.fixtures.label_studio import LABEL_CONFIG, Server
from tests.fixtures.line import LABELS, line_settings

pytestmark = pytest.mark.timeout(3600)

TASKS, FEW, ROUNDS = int(os.environ.get("BENCH_TASKS", "10000")), int(os.environ.get("BENCH_FEW_TASKS", "1000")), 3
CHANGED, PULLS, BOXES, LOOK_BACK = 10, 5, 3, 6.0


class Counting(LabelStudio):
    """Counts the whole tasks that a pull reads."""

    read = 0

    def changed_tasks(self, *given: Any, **named: Any) -> Iterator[dict[str, Any]]:
        for task in super().changed_tasks(*given, **named):
            self.read += 1
            yield task


@dataclass
class Wheel:
    """A project of our own on the real server, with its own database: captures that a model has seen, none of them pushed."""

    settings: Settings
    project: Project
    studio: Counting

    @property
    def database(self) -> Database:
        return get_database(self.settings.database_url)

    def push(self) -> int:
        return push(self.database, self.settings, self.studio)

    def pull(self) -> int:
        return pull(self.database, self.settings, self.studio)

    def chunks(self) -> Iterator[list[dict[str, Any]]]:
        """The payload of a push, in its chunks."""
        desk, size, last = open_desk(self.database, self.settings, self.studio), self.settings.push_chunk, 0
        while True:
            query = select(QueueItem).where(QueueItem.id > last).order_by(QueueItem.id).limit(size)
            with self.database.read() as session:
                items = list(session.scalars(query.options(joinedload(QueueItem.image), joinedload(QueueItem.capture))))
            if not items:
                return
            shown, last = pre_annotate(desk, items), items[-1].id
            yield [task_payload(item, pushed_tag(desk.tags), self.settings, shown[item.id]) for item in items]

    def deploy(self, version: int, rng: np.random.Generator) -> Deployment:
        """A model that has seen every image."""
        file = self.settings.home / f"model-{version}.onnx"
        with self.database.write() as session:
            class_map = session.scalars(select(ClassMap)).one()
            model = ModelVersion(
                project_id=self.project.id, name="labelwheel", version=version, onnx_uri=str(file), onnx_sha256=write_finder(file),
                weights_uri="best.pt", class_map_id=class_map.id,
            )  # fmt: skip
            session.add(model)
            session.flush()
            images = list(session.scalars(select(Image.id)))
            session.execute(insert(Prediction), [_prediction(image, model.id, rng) for image in images])
            row = Deployment(project_id=self.project.id, tag="label", model_version_id=model.id, served_as=f"labelwheel@{version}")
            session.add(row)
        return row


@contextmanager
def opened(server: Server, token: str, folder: Path, tasks: int, rng: np.random.Generator) -> Iterator[Wheel]:
    """A wheel with so many pending items. Nobody looks at the images, so none are stored."""
    title = f"Bench {uuid.uuid4().hex[:10]}"
    home = folder / title.replace(" ", "-")
    home.mkdir()
    settings = line_settings(home, label_studio_url=server.url, label_studio_project=title, tick_pull=10**9, adopt=False)
    migrate(settings.database_url)
    studio = Counting(server.url, token)
    theirs = ensure_project(studio, title, lambda: LABEL_CONFIG)
    database = get_database(settings.database_url)
    with database.write() as session:
        project = remember_project(session, settings.label_studio_name, theirs.id, title, LABEL_CONFIG, LABELS)
        session.flush()
        _pending(session, project.id, tasks)
    wheel = Wheel(settings, project, studio)
    wheel.deploy(1, rng)
    try:
        yield wheel  # the project stays: Label Studio takes minutes to delete one of 10,000 tasks
    finally:
        database.dispose()


def _pending(session: Any, project_id: int, count: int) -> None:
    now, numbers = utcnow(), range(1, count + 1)
    project, stamp = {"project_id": project_id}, {"created_at": now}
    shas = [uuid.uuid4().hex * 2 for _ in numbers]
    session.execute(
        insert(Image),
        [{**project, **stamp, "sha256": sha, "width": 640, "height": 480, "size": 9, "uri": f"{sha[:2]}/{sha}.jpg"} for sha in shas],
    )
    captures = [
        {
            **project, "image_id": number, "source": "line-a", "external_id": f"line-a/{number}", "captured_at": now, "received_at": now,
            "features": {}, "split": "train", "audit": False, "propensity": 0.1,
        }
        for number in numbers
    ]  # fmt: skip
    session.execute(insert(Capture), captures)
    items = [
        {
            **project, **stamp, "image_id": number, "capture_id": number, "round": 1, "status": "pending", "reason": "low_confidence",
            "priority": 0.5, "scores": {}, "updated_at": now,
        }
        for number in numbers
    ]  # fmt: skip
    session.execute(insert(QueueItem), items)


def _prediction(image_id: int, model_version_id: int, rng: np.random.Generator) -> dict[str, Any]:
    corners = rng.integers(0, 400, (BOXES, 2))
    boxes = [
        {"label": LABELS[n % 2], "confidence": round(float(rng.uniform(0.3, 0.9)), 4), "box": [int(x), int(y), int(x) + 60, int(y) + 40]}
        for n, (x, y) in enumerate(corners)
    ]
    top = max(box["confidence"] for box in boxes)
    return {
        "image_id": image_id,
        "model_version_id": model_version_id,
        "detections": boxes,
        "count": BOXES,
        "top_confidence": top,
        "created_at": utcnow(),
    }


@contextmanager
def resident_memory() -> Iterator[list[float]]:
    """This process's resident memory in MiB, ten times a second while the block runs."""
    found, stop, me = [], threading.Event(), psutil.Process()

    def watch() -> None:
        while not stop.wait(0.1):
            found.append(me.memory_info().rss / 2**20)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def test_push_beside_bare_imports(label_studio_server: Server, label_studio_token: str, tmp_path: Path, seed: int) -> None:
    """The same payload in the same chunks: by us, into a project of ours; by the SDK alone, into another. New projects for each round."""
    rng, seconds = np.random.default_rng(seed), {"ours": [], "bare": []}
    memory: list[dict[str, float]] = []
    for number in range(ROUNDS):
        with opened(label_studio_server, label_studio_token, tmp_path, TASKS, rng) as wheel:
            acts = [("bare", lambda wheel=wheel: _bare(wheel, label_studio_token)), ("ours", lambda wheel=wheel: _ours(wheel, memory))]
            for name, act in acts if number % 2 else reversed(acts):
                seconds[name].append(act())
    found = {
        "seed": seed, "tasks": TASKS, "chunk": wheel.settings.push_chunk, "rounds": ROUNDS, "seconds": seconds, "allowed_ratio": 1.25,
        "ratio": statistics.median(seconds["ours"]) / statistics.median(seconds["bare"]), "resident_mb": memory,
    }  # fmt: skip
    figures.write("bench/push.json", found)


def _ours(wheel: Wheel, memory: list[dict[str, float]]) -> float:
    with resident_memory() as resident:
        seconds = _seconds(lambda: wheel.push())
    assert len(wheel.studio.task_ids(wheel.project.ls_project_id)) == TASKS
    fifths = [statistics.median(part) for part in np.array_split(np.array(resident), 5)]
    memory.append({"first_fifth": fifths[0], "second_fifth": fifths[1], "last_fifth": fifths[-1], "most": max(resident)})
    return seconds


def _bare(wheel: Wheel, token: str) -> float:
    """Only the requests are timed: the payload is there."""
    sdk = UntouchedSdk(base_url=wheel.settings.label_studio_url, api_key=token)
    project = sdk.projects.create(title=f"Bare {uuid.uuid4().hex[:10]}", label_config=LABEL_CONFIG)
    took = 0.0
    for chunk in wheel.chunks():
        took += _seconds(lambda chunk=chunk: sdk.projects.import_tasks(id=project.id, request=chunk, return_task_ids=True))
    assert sdk.projects.get(id=project.id).task_number == TASKS
    return took


def test_pull_of_few_changes_at_two_sizes(label_studio_server: Server, label_studio_token: str, tmp_path: Path, seed: int) -> None:
    """Ten annotations are new among many tasks and among few; the sweep for deleted tasks, and the pull after a refresh, on the same projects."""
    rng = np.random.default_rng(seed)
    sizes = {"many": TASKS, "few": FEW}
    with (
        opened(label_studio_server, label_studio_token, tmp_path, TASKS, rng) as many,
        opened(label_studio_server, label_studio_token, tmp_path, FEW, rng) as few,
    ):
        wheels = {"many": many, "few": few}
        for wheel in wheels.values():
            wheel.push()
        _settled(list(wheels.values()))
        after = _refreshed(few, rng)
        pulls, read = _interleaved(wheels, _annotated, LOOK_BACK)
        sweeps, _ = _interleaved(wheels, _hinted, 0, rounds=3)
    medians = {name: statistics.median(values) for name, values in pulls.items()}
    swept = {name: statistics.median(values) for name, values in sweeps.items()}
    found = {
        "seed": seed, "sizes": sizes, "changed": CHANGED, "seconds": pulls, "median_seconds": medians, "allowed_seconds": 2.0,
        "ratio": medians["many"] / medians["few"], "allowed_ratio": 2.0, "tasks_read": read,
        "deletion_sweep": {"seconds": sweeps, "median_seconds": swept, "ratio": swept["many"] / swept["few"]}, "refresh": after,
    }  # fmt: skip
    figures.write("bench/pull.json", found)


def _settled(wheels: Sequence[Wheel]) -> None:
    """Pull what was pushed, and one task that somebody annotates after: a pull looks back five seconds from the newest change that it saw."""
    time.sleep(LOOK_BACK)
    for wheel in wheels:
        _annotate(wheel, 1)
        wheel.pull()


def _interleaved(
    wheels: dict[str, Wheel], prepare: Callable[[Wheel], None], pause: float, rounds: int = PULLS
) -> tuple[dict[str, list[float]], dict[str, list[int]]]:
    """Seconds of pulls, and the tasks that each read."""
    seconds, read = {name: [] for name in wheels}, {name: [] for name in wheels}
    for _ in range(rounds):
        time.sleep(pause)
        for name, wheel in wheels.items():
            prepare(wheel)
            before = wheel.studio.read
            seconds[name].append(_seconds(wheel.pull))
            read[name].append(wheel.studio.read - before)
    return seconds, read


def _annotated(wheel: Wheel) -> None:
    _annotate(wheel, CHANGED)


def _annotate(wheel: Wheel, count: int) -> None:
    """Somebody annotates the first tasks that nobody has."""
    opened_tasks = wheel.studio.open_tasks(wheel.project.ls_project_id, page_size=count)
    for task in list(islice(opened_tasks, count)):
        wheel.studio.create_annotation(task["id"], [_drawn()])


def _hinted(wheel: Wheel) -> None:
    with wheel.database.write() as session:
        session.add(Hint(project_id=wheel.project.id, action="TASKS_DELETED", task_ids=[1]))


def _refreshed(wheel: Wheel, rng: np.random.Generator) -> dict[str, Any]:
    """A new version's boxes for every open task, and what the next pull reads."""
    deployment = wheel.deploy(2, rng)
    before = wheel.studio.read
    seconds = _seconds(lambda: refresh(wheel.database, wheel.settings, wheel.studio, deployment.id))
    with wheel.database.read() as session:
        opened_tasks = session.scalar(select(func.count()).select_from(QueueItem).where(QueueItem.status == "pushed"))
    took = _seconds(wheel.pull)
    return {
        "open_tasks": opened_tasks,
        "seconds": seconds,
        "next_pull_seconds": took,
        "tasks_read_by_next_pull": wheel.studio.read - before,
    }


def _drawn() -> dict[str, Any]:
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["open"]}
    size = {"original_width": 640, "original_height": 480, "image_rotation": 0}
    return {"id": uuid.uuid4().hex[:8], "type": "rectanglelabels", "from_name": "label", "to_name": "image", **size, "value": value}


def _seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
