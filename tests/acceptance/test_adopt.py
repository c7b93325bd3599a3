"""A project that people worked in before us: `labelwheel connect` adopts its tasks of every kind, also when it is killed in the middle."""

from __future__ import annotations

import base64
import random
import signal
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, func, select

from console.doctor import _tasks_left
from labelwheel.database.tables import AnnotationRevision, Capture, Image, Label, Lease, LsTask, Project, QueueItem
from labelwheel.draw import draw
from labelwheel.labelstudio import LabelStudio
from labelwheel.schedule import due_work
from labelwheel.storage import ImageStore
from sync.exchange.adopt import adopt
from sync.exchange.pull import pull
from sync.exchange.refresh import refresh
from tests.acceptance.test_sync_label_studio import drawn
from tests.fixtures.doors import await_until
from tests.fixtures.image_server import ImageServer
from tests.fixtures.label_studio import LABEL_CONFIG, Server, free_port
from tests.fixtures.line import picture
from tests.fixtures.station import COMMAND, Station, open_station

EACH = 11  # tasks of each kind that can be had


@dataclass
class Before:
    """What people left: ids of tasks that can be adopted and of those that cannot, what was drawn, and twins of one image."""

    title: str
    project_id: int = 0
    good: list[int] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)  # with a word of the reason
    approved: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    twins: tuple[int, int] = (0, 0)


@pytest.fixture
def before(label_studio: LabelStudio, label_studio_server: Server, image_server: ImageServer) -> Before:
    """About sixty tasks of every kind, annotated here and there."""
    made = Before(f"Others {uuid.uuid4().hex[:10]}")
    made.project_id = label_studio.create_project(made.title, LABEL_CONFIG).id
    folder = label_studio_server.settings.images_dir / f"others-{made.project_id}"
    folder.mkdir(parents=True)
    web = [image_server.serve(f"/{n}.png", picture(n)) for n in range(EACH)]
    for n in range(EACH):
        (folder / f"{n}.png").write_bytes(picture(100 + n))
    local = [f"/data/local-files/?d=images/{folder.name}/{n}.png" for n in range(EACH)]
    inline = ["data:image/png;base64," + base64.b64encode(picture(200 + n)).decode() for n in range(EACH)]
    made.good = _import(label_studio, made.project_id, [*web, *local, *inline, web[0]])
    made.twins = made.good[0], made.good[-1]
    made.good += _upload(label_studio, made.project_id, EACH)
    wrong = {
        f"http://127.0.0.1:{free_port()}/a.png": "Nobody allowed",
        image_server.url + "/gone.png": "no image",
        image_server.serve("/text.png", b"no picture"): "image",
        "data:image/png;base64,%%%": "empty",
        f"/data/local-files/?d=images/{folder.name}/gone.png": "",
    }
    made.bad = dict(zip(_import(label_studio, made.project_id, list(wrong)), wrong.values(), strict=True))
    _annotate(label_studio, made)
    return made


def _import(studio: LabelStudio, project_id: int, addresses: list[str]) -> list[int]:
    return studio.import_tasks(project_id, [{"data": {"image": address, "source": f"line-{n % 3}"}} for n, address in enumerate(addresses)])


def _upload(studio: LabelStudio, project_id: int, count: int) -> list[int]:
    known = studio.task_ids(project_id)
    for n in range(count):
        httpx.post(
            f"{studio.url}/api/projects/{project_id}/import", files={"file": (f"{n}.png", picture(300 + n), "image/png")},
            headers={"Authorization": studio.connection.authorization()}, timeout=30,
        ).raise_for_status()  # fmt: skip
    return sorted(studio.task_ids(project_id) - known)


def _annotate(studio: LabelStudio, made: Before) -> None:
    made.approved = [*made.twins, *made.good[5:33:7]]
    made.skipped = made.good[6:40:11]
    for n, task in enumerate(made.approved):
        studio.create_annotation(task, [drawn(5 + n)] if n != 3 else [])
    for task in made.skipped:
        studio.create_annotation(task, [drawn()], was_cancelled=True)
    studio.create_annotation(next(iter(made.bad)), [drawn()])


@pytest.fixture
def station(
    before: Before, image_server: ImageServer, label_studio_server: Server, label_studio_token: str, tmp_path: Path
) -> Iterator[Station]:
    with open_station(
        label_studio_server, label_studio_token, tmp_path, label_studio_project=before.title, image_sources=f"{image_server.url}/",
        redis_url=f"unix://{tmp_path}/silent.sock", audit_rate=0.5,
    ) as station:  # fmt: skip
        yield station


def rows(station: Station) -> dict[int, tuple[str, str]]:
    """Key and status of each adopted task, by Label Studio's id."""
    query = select(LsTask.ls_task_id, LsTask.key, QueueItem.status).join(QueueItem).where(LsTask.adopted)
    with station.database.read() as session:
        return {task: (key, status) for task, key, status in session.execute(query)}


def labels(station: Station) -> list[tuple[Any, ...]]:
    with station.database.read() as session:
        query = select(Label.image_id, Label.annotation_revision_id, Label.superseded_by, Label.withdrawn_at, Label.boxes)
        return [tuple(row) for row in session.execute(query.order_by(Label.id))]


def test_a_project_with_tasks_is_adopted_though_it_is_killed_in_the_middle(before: Before, station: Station) -> None:
    everything = len(before.good) + len(before.bad)
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    with station.database.read() as session:
        assert ("sync.adopt", None) in list(due_work(session, station.settings, station.project.created_at)), (
            "`up` would do it in the background"
        )

    command = subprocess.Popen([*COMMAND, "connect"], env=station.environment, stdout=subprocess.PIPE, text=True)
    few = random.Random(seed).randrange(3, len(before.good) - 10)
    await_until(lambda: len(rows(station)) >= few)
    command.send_signal(signal.SIGKILL)
    command.communicate()
    assert len(rows(station)) < len(before.good)
    _lapse_leases(station)

    done = subprocess.run([*COMMAND, "connect"], env=station.environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    found = rows(station)
    assert sorted(found) == sorted(before.good)
    for task, word in before.bad.items():
        line = next(line for line in done.stdout.splitlines() if f"task {task}:" in line)
        assert word in line

    with station.database.read() as session:
        left = _tasks_left(session, station.project)
    assert left is not None and f"{len(before.bad)} tasks" in left.message

    theirs = station.studio.tasks(station.project.ls_project_id, station.studio.task_ids(station.project.ls_project_id))
    assert len(theirs) == everything, "nothing was added or removed"
    keys = {task: entry["data"].get("labelwheel_key") for task, entry in theirs.items()}
    assert {task: key for task, key in keys.items() if key} == {task: key for task, (key, _) in found.items()}
    assert len(set(keys.values()) - {None}) == len(before.good)
    expected = dict.fromkeys(before.good, "pushed") | dict.fromkeys(before.approved, "approved") | dict.fromkeys(before.skipped, "skipped")
    assert {task: status for task, (_, status) in found.items()} == expected

    with station.database.read() as session:
        mirrored = Counter(session.scalars(select(AnnotationRevision.ls_task_id)))
        standing = list(session.scalars(select(Label).where(Label.superseded_by.is_(None), Label.withdrawn_at.is_(None))))
        captures = list(session.scalars(select(Capture)))
        images = {image.id: image for image in session.scalars(select(Image))}
    assert mirrored == Counter([*before.approved, *before.skipped])
    assert len(standing) == len(before.approved) - 1, "of two tasks of one image the newer annotation counts"
    assert Counter(capture.source for capture in captures) == _sources(before)
    store = ImageStore(station.settings.images_dir)
    for capture in captures:
        drawn_here = draw(station.project.salt, images[capture.image_id].sha256, 0.5, station.settings.holdout_rate)
        assert (capture.split, capture.audit) == (drawn_here.split, drawn_here.audit)
        assert store.path(images[capture.image_id].uri).is_file()

    _goes_on(before, station, labels(station))


def _sources(before: Before) -> Counter[str]:
    """The twin brings no capture of its own; uploads name no source."""
    return Counter([f"line-{n % 3}" for n in range(3 * EACH)] + [before.title] * EACH)


def _lapse_leases(station: Station) -> None:
    """Ten minutes pass."""
    with station.database.write() as session:
        session.execute(delete(Lease))


def _goes_on(before: Before, station: Station, then: list[tuple[Any, ...]]) -> None:
    """Afterwards the wheel turns with them as with its own, and with what people add later."""
    pull(station.database, station.settings, station.studio)
    assert labels(station) == then, "a pull finds what was adopted as it is"
    assert _mark(station) == min(before.bad) - 1, "a first pull asks for all that others made"
    assert sorted(adopt(station.database, station.settings, station.studio).faults) == sorted(before.bad)
    deployment = station.deploy()
    refresh(station.database, station.settings, station.studio, deployment.id)
    opened = [task for task, (_, status) in rows(station).items() if status == "pushed"]
    assert station.versions(opened[0]) == [deployment.served_as]

    assert _mark(station) is None
    [later] = _import(station.studio, before.project_id, ["data:image/png;base64," + base64.b64encode(picture(999)).decode()])
    pull(station.database, station.settings, station.studio)
    assert _mark(station) == later - 1, "only what is new is looked at"
    done = adopt(station.database, station.settings, station.studio)
    assert (done.adopted, done.ended, _mark(station)) == (1, True, None)
    assert later in rows(station)
    again = adopt(station.database, station.settings, station.studio)
    assert (again.adopted, again.faults) == (0, {})
    with station.database.read() as session:
        assert session.scalar(select(func.count()).select_from(LsTask)) == len(before.good) + 1


def _mark(station: Station) -> int | None:
    with station.database.read() as session:
        return session.get_one(Project, station.project.id).adopt_after
