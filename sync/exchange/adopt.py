"""Adopt the tasks that others made in the project: from then on they are items of the queue, and what is drawn on them becomes labels.

`project.adopt_after` says how far it is, in Label Studio's ids, so whoever goes on begins there. A task first gets its key there, and then
its rows here, with all its annotations: killed in between, the next one finds a key that nobody knows, and makes the rows. The other way
round the pull would take the task for deleted. A task whose image cannot be had is named, and left as it is.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import structlog
from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.orm import Session

from labelwheel.ahead import ahead
from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import Capture, Decision, Deployment, Image, LsTask, Project, QueueEvent, QueueItem, utcnow
from labelwheel.draw import draw, inherit
from labelwheel.errors import LabelStudioUnreachable, LabelwheelError, NotFoundError
from labelwheel.labelstudio.client import KEY
from labelwheel.labelstudio.port import Studio
from labelwheel.lease import HeldLease, hold
from labelwheel.project import current_project
from labelwheel.resolver.resolve import Resolver
from labelwheel.serving import newest_deployment
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.twins import splits_of_twins
from labelwheel.vision import features, image
from labelwheel.vision.features import Vector
from labelwheel.vision.label_config import parse, pushed_tag
from sync.exchange.mirror import mirror_tasks
from sync.exchange.reset import held, look
from sync.review.reading import Reading, reading_of
from sync.review.settle import settle

log = structlog.get_logger(__name__)

PORTION = 50
LEASE_SECONDS = 90  # renewed before each task, whose image may take a third of it; after a kill the next one waits so long
OURS = re.compile(r"(?P<sha256>[0-9a-f]{32})-r(?P<round>\d{1,6})")
NAMED = 20  # faults that a decision keeps; the log has all
LONGEST_SOURCE = 100

Task = dict[str, Any]


@dataclass
class Adoption:
    """What became of the tasks that were looked at. `faults` says why a task was left as it is, by Label Studio's id.

    `held`: why nothing is done, until somebody decides about a Label Studio that went back.
    """

    adopted: int = 0
    known: int = 0
    faults: dict[int, str] = field(default_factory=dict)
    ended: bool = False
    held: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An image of a task: its row, its bytes, and what they look like (`descriptor` is float32)."""

    image: Image
    data: bytes
    measured: dict[str, float]
    descriptor: Vector


def ask_for_adoption(session: Session, project_id: int, after: int = 0) -> None:
    """Have every task looked at whose id in Label Studio is greater than `after`."""
    later = or_(Project.adopt_after.is_(None), Project.adopt_after > after)
    session.execute(update(Project).where(Project.id == project_id, later).values(adopt_after=after))


def adopt(
    database: Database, settings: Settings, client: Studio, seconds: float = 60, told: Callable[[Adoption], None] = lambda _: None
) -> Adoption:
    """Adopt portion after portion for about so many seconds; `told` hears how far it is. `ended` is True when nothing is left, or asked for.

    While another one adopts nothing is done, nor while the pull is held (see `sync.exchange.reset`).
    Raises LabelStudioError, LabelStudioUnreachable, and WentBack where the project is another one.
    """
    done, until = Adoption(), time.monotonic() + seconds
    with database.read() as session:
        project = current_project(session, settings)
        if (pause := held(session, project.id)) is not None:
            return Adoption(ended=True, held=pause.why)
        reading = reading_of(session, project, settings)
    with hold(database, f"adopt:{project.id}", LEASE_SECONDS) as lease:
        if lease is None:
            return done
        look(client, project)
        with Adopter(database, settings, client, project, reading) as adopter:
            while not done.ended and time.monotonic() < until and lease.renew():
                adopter.portion(done, lease)
                told(done)
    _keep_record(database, project, done)
    return done


@dataclass
class Adopter:
    """One adoption under way."""

    database: Database
    settings: Settings
    client: Studio
    project: Project
    reading: Reading

    def __post_init__(self) -> None:
        self._store = ImageStore(self.settings.images_dir)
        self._resolver = Resolver(self.settings, self.database, self._store)
        self._fetchers = ThreadPoolExecutor(self.settings.image_fetches, thread_name_prefix="adopt")

    @cached_property
    def people(self) -> dict[int, str]:
        return self.client.people()

    def __enter__(self) -> Adopter:
        return self

    def __exit__(self, *_: object) -> None:
        self._fetchers.shutdown(cancel_futures=True)
        self._resolver.close()

    def portion(self, done: Adoption, lease: HeldLease) -> None:
        """Adopt the next few tasks, and move the mark behind them."""
        after = _mark(self.database, self.project.id)
        tasks = [] if after is None else self.client.tasks_after(self.project.ls_project_id, after, PORTION)
        strangers = self._strangers(tasks)
        done.known += len(tasks) - len(strangers)
        for task, arrival in self._arrivals(strangers):
            if not lease.renew():  # somebody else goes on from where the mark stands
                return
            self._one(task, arrival, done)
        if after is not None:
            _move_mark(self.database, self.project.id, after, int(tasks[-1]["id"]) if tasks else None)
        done.ended = not tasks
        log.info("tasks adopted", adopted=done.adopted, known=done.known, left=len(done.faults), after=after)

    def _strangers(self, tasks: Sequence[Task]) -> list[Task]:
        """Tasks that are not ours: without a key, or with one that nobody here knows or is about to push."""
        keys = {str(task["data"][KEY]) for task in tasks if KEY in task["data"]}
        with self.database.read() as session:
            ours = set(session.scalars(select(LsTask.key).where(LsTask.project_id == self.project.id, LsTask.key.in_(keys))))
            ours |= {key for key in keys - ours if _is_ours_to_push(session, self.project.id, key)}
        return [task for task in tasks if str(task["data"].get(KEY)) not in ours]

    def _arrivals(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Future[Arrival]]]:
        """Their images, fetched some ahead."""
        value_key = pushed_tag(parse(self.project.label_config)).value_key
        coming = ahead(
            lambda task: self._fetchers.submit(self._arrive, task["data"].get(value_key)), tasks, max(1, self.settings.image_fetches // 2)
        )
        return zip(tasks, coming, strict=True)

    def _arrive(self, value: object) -> Arrival:
        row, data = self._resolver.copy(value, self.project.id)
        pixels = image.decode(data, max_bytes=self.settings.max_image_bytes, max_pixels=self.settings.max_image_pixels)
        return Arrival(row, data, features.measure(pixels), features.descriptor(pixels).astype(np.float32))

    def _one(self, task: Task, coming: Future[Arrival], done: Adoption) -> None:
        try:
            self._take(task, coming.result())
            done.adopted += 1
        except LabelStudioUnreachable:  # nothing can be said of the task: the next run looks again
            raise
        except (
            LabelwheelError,
            OSError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
        ) as error:  # people put anything into a task's data
            done.faults[int(task["id"])] = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
            log.warning("task not adopted", task=task["id"], error=done.faults[int(task["id"])])

    def _take(self, task: Task, arrival: Arrival) -> None:
        suffix = image.sniff_suffix(arrival.data)
        uri = self._store.put(arrival.data, arrival.image.sha256, suffix)
        ours = {**task, "data": {**task["data"], KEY: _key(task, arrival.image.sha256)}}
        if ours["data"] != task["data"]:
            self.client.update_task(int(task["id"]), ours["data"])
        with self.database.write() as session:
            self._rows(session, ours, _image(session, arrival.image.id, uri), arrival)
            session.flush()
            change = mirror_tasks(session, self.project, [ours], self.people)
            settle(session, self.project.id, self.reading, change.touched, change.keys)
        self._store.put(arrival.data, arrival.image.sha256, suffix)  # a retention may have removed it before our rows were there

    def _rows(self, session: Session, task: Task, row: Image, arrival: Arrival) -> None:
        """Item and task, unless they are there."""
        key = task["data"][KEY]
        mine = select(LsTask.id).where(LsTask.project_id == self.project.id, LsTask.key == key)
        if session.scalar(mine):
            return
        taken = session.scalar(select(func.max(QueueItem.round)).where(QueueItem.image_id == row.id)) or 0
        item = QueueItem(
            project_id=self.project.id, image_id=row.id, capture_id=self._capture(session, task, row, arrival), round=taken + 1,
            status="pushed", reason="adopted", priority=_priority(task), scores={},
        )  # fmt: skip
        session.add(item)
        session.flush()
        session.add(LsTask(project_id=self.project.id, key=key, queue_item_id=item.id, ls_task_id=int(task["id"]), adopted=True))
        session.add(QueueEvent(queue_item_id=item.id, status="pushed", who="adoption", why="somebody made the task in Label Studio"))

    def _capture(self, session: Session, task: Task, row: Image, arrival: Arrival) -> int:
        """The image's first capture; it keeps its split where it arrived before, and is drawn like any arrival where it did not: its twins'
        split goes before its own lot."""
        first = select(Capture.id).where(Capture.image_id == row.id).order_by(Capture.id).limit(1)
        if (known := session.scalar(first)) is not None:
            return known
        drawn = draw(self.project.salt, row.sha256, self.settings.audit_rate, self.settings.holdout_rate)
        source, moment = source_of(task, self.project.title), captured_at(task)
        twins = splits_of_twins(session, self.project.id, source, moment, arrival.descriptor, self.settings.twin_seconds)
        capture = {
            "project_id": self.project.id,
            "image_id": row.id,
            "source": source,
            "external_id": f"label-studio/{self.project.ls_project_id}/{task['id']}#{row.sha256[:12]}",
            "captured_at": moment,
            "received_at": utcnow(),
            "features": arrival.measured,
            "descriptor": arrival.descriptor.tobytes(),
            "split": inherit(drawn.split, twins),
            "audit": drawn.audit,
            "propensity": drawn.propensity,
        }
        insert_absent(session, Capture, [capture])
        return session.scalars(first).one()


def source_of(task: Task, title: str) -> str:
    """The source that the task's data names, else the project's title."""
    named = task["data"].get("source")
    usable = isinstance(named, str) and 0 < len(named.strip()) <= LONGEST_SOURCE and named.isprintable()
    return str(named).strip() if usable else title[:LONGEST_SOURCE]


def captured_at(task: Task) -> datetime:
    """When the task's data says that the image was taken, else when the task was made."""
    with suppress(ValueError, TypeError, OverflowError):
        moment = datetime.fromisoformat(task["data"]["captured_at"] if "captured_at" in task["data"] else task["created_at"])
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return datetime.fromisoformat(task["created_at"])


def _key(task: Task, sha256: str) -> str:
    """The key that it has, from another life of ours; else one from its image, and from Label Studio's identity of it: tasks of one image differ."""
    known = task["data"].get(KEY)
    stamp = hashlib.sha256(f"{task['id']}@{task['created_at']}".encode()).hexdigest()[:12]
    return known if isinstance(known, str) and 0 < len(known) <= 100 and known.isprintable() else f"{sha256[:32]}-t{stamp}"


def _priority(task: Task) -> float:
    given = task["data"].get("priority")
    return float(given) if isinstance(given, (int, float)) and not isinstance(given, bool) and 0 <= given <= 1 else 0.0


def _is_ours_to_push(session: Session, project_id: int, key: str) -> bool:
    """Whether it is the key of an item: its task was pushed just now, or its answer was lost, and the next push finds it."""
    named = OURS.fullmatch(key)
    if named is None:
        return False
    of_image = (Image.project_id == project_id, Image.sha256.between(named["sha256"], named["sha256"] + "g"))
    mine = select(QueueItem.id).join(Image, Image.id == QueueItem.image_id).where(*of_image, QueueItem.round == int(named["round"]))
    return session.scalar(mine.limit(1)) is not None


def _image(session: Session, image_id: int, uri: str) -> Image:
    row = session.scalars(select(Image).where(Image.id == image_id).with_for_update()).one()  # a retention that judges it waits
    if row.erased_at is not None:
        raise NotFoundError(f"Image {row.sha256[:12]} was erased everywhere.", "It does not come back; delete the task in Label Studio.")
    row.uri, row.expired_at = uri, None
    return row


def _mark(database: Database, project_id: int) -> int | None:
    with database.read() as session:
        return session.scalar(select(Project.adopt_after).where(Project.id == project_id))


def _move_mark(database: Database, project_id: int, seen: int, to: int | None) -> None:
    """Move it, unless somebody has asked for earlier tasks meanwhile. At the end open tasks that were adopted get their boxes."""
    with database.write() as session:
        session.execute(update(Project).where(Project.id == project_id, Project.adopt_after == seen).values(adopt_after=to))
        newest = newest_deployment(session, project_id) if to is None else None
        if newest is not None and session.scalar(select(_bare(project_id))):
            session.execute(update(Deployment).where(Deployment.id == newest.id).values(refreshed_at=None))


def _bare(project_id: int) -> Any:
    adopted = (LsTask.project_id == project_id, LsTask.adopted, LsTask.served_as.is_(None))
    return exists().where(*adopted, QueueItem.id == LsTask.queue_item_id, QueueItem.status == "pushed")


def _keep_record(database: Database, project: Project, done: Adoption) -> None:
    if not done.adopted and not done.faults:
        return
    reasons = [{"code": "not_adopted", "text": f"task {number}: {fault}"} for number, fault in list(done.faults.items())[:NAMED]]
    inputs = {"adopted": done.adopted, "known": done.known, "left": len(done.faults)}
    with database.write() as session:
        session.add(Decision(project_id=project.id, kind="adoption", verdict=f"{done.adopted} adopted", reasons=reasons, inputs=inputs))
