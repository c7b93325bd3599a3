"""Take turns: one answer to an item at a time, each to the item as Label Studio has it now."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import AnnotationRevision, LsTask, QueueItem
from labelwheel.errors import ConflictError
from labelwheel.labelstudio.client import KEY
from labelwheel.lease import HeldLease, hold
from labelwheel.vision.label_config import parse
from sync.exchange.desk import Desk
from sync.exchange.mirror import mirror_tasks
from sync.exchange.push import push_item
from sync.exchange.task import task_key
from sync.review.authors import name_authors
from sync.review.said import Answered, Said, demand
from sync.review.settle import settle
from sync.review.window import Window

Json = dict[str, Any]

PATIENCE_SECONDS = 10.0  # for somebody who answers the same item, and for a pull under way
LEASE_SECONDS = 30.0  # a killed door blocks its item no longer


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer under way: its item, the task's key, the task as Label Studio has it ({} without one), people's addresses by id.

    `kept` are annotations that stand with us alone, for Label Studio lost them (`labelwheel connect --accept-reset keep`).
    """

    item: QueueItem
    key: str
    task: Json
    people: Mapping[int, str]
    kept: Sequence[Json] = ()

    @property
    def annotations(self) -> list[Json]:
        """All that stand, wherever."""
        return [*(self.task.get("annotations") or []), *self.kept]


@contextmanager
def take_turn(window: Window, item_id: int, act: str, said: Said, *, push: bool = True) -> Iterator[Turn]:
    """The item for one answer at a time, as Label Studio has it now. A pending one becomes a task, if that is where it was seen."""
    with _patiently(window.database, f"answer:{item_id}", f"Somebody else answers item {item_id} just now."):
        item = window.item(item_id)
        if push and item.status == "pending":
            demand(window, item, act, said)
            push_item(_desk(window), item_id)
        row = window.task(item_id)
        if push and row is None:
            raise _without_task(window, item_id)
        turn = _look(window, row, window.client.people()) if row else Turn(item, task_key(item), {}, {})
        if push and not turn.task:
            raise _lost(window, turn)
        yield turn


def look_again(window: Window, turn: Turn) -> Turn:
    """The turn with its task as Label Studio has it now, mirrored."""
    row = window.task(turn.item.id)
    return _look(window, row, turn.people) if row else turn


def last_word(task: Mapping[str, Any]) -> Json | None:
    """The annotation, or skip, that was made or changed last."""
    return max(task.get("annotations") or [], key=lambda annotation: (annotation["updated_at"], annotation["id"]), default=None)


def newest(annotations: Iterable[Json]) -> Json | None:
    """The annotation of these that was submitted or changed last, skips aside."""
    standing = [annotation for annotation in annotations if not annotation.get("was_cancelled")]
    return max(standing, key=lambda annotation: (annotation["updated_at"], annotation["id"]), default=None)


def _without_task(window: Window, item_id: int) -> ConflictError:
    """Why there is nothing to write an answer to."""
    item = window.item(item_id)
    if item.status == "pending":
        fault = item.fault or "Label Studio did not take it"
        return ConflictError(f"Item {item_id} cannot become a task: {fault}", "`labelwheel doctor` says what to do.")
    return Answered(f"Item {item_id} is {item.status}, and has no task.", "Choose another one.", window.state(item_id))


def _lost(window: Window, turn: Turn) -> Answered:
    """Label Studio lost the task, and somebody has decided that what was said counts all the same."""
    message, state = f"Label Studio lost the task of item {turn.item.id}.", window.state(turn.item.id)
    if turn.kept:
        cure = "Approve, reject or flag the label that was kept. After `labelwheel labels withdraw --again` people draw such images anew."
        return Answered(message, cure, state)
    waits = turn.item.status in ("pending", "pushed")
    return Answered(message, "It is sent anew with the next look for lost tasks." if waits else "Choose another one.", state)


def _kept(window: Window, key: str) -> list[Json]:
    mine = (AnnotationRevision.project_id == window.project.id, AnnotationRevision.key == key, AnnotationRevision.deleted_at.is_(None))
    rows = select(AnnotationRevision).where(*mine, AnnotationRevision.lost_at.is_not(None))
    with window.database.read() as session:
        ordered = session.scalars(rows.order_by(AnnotationRevision.updated_at, AnnotationRevision.id))
        return list({row.unique_id: row.body for row in ordered}.values())


def _look(window: Window, row: LsTask, people: Mapping[int, str]) -> Turn:
    """Mirror the task as it is now. The pull's lease: a pull that read it before and writes it later would undo this."""
    with _patiently(window.database, f"pull:{window.project.id}", "Label Studio is being read just now.") as lease:
        task = _task(window, row)
        if task is None and not row.ls_task_id:
            return Turn(window.item(row.queue_item_id), row.key, {}, people, _kept(window, row.key))
        if task is None:
            message = f"The task of item {row.queue_item_id} was deleted in Label Studio."
            raise Answered(message, "It expires with the next look for deleted tasks.", window.state(row.queue_item_id))
        if not lease.renew():
            raise ConflictError("Label Studio answered too slowly.", "Ask again.")
        with window.database.write() as session:
            change = mirror_tasks(session, window.project, [task], people)
            name_authors(session, window.project.id, change)
            settle(session, window.project.id, window.reading, change.touched, change.keys)
    return Turn(window.item(row.queue_item_id), row.key, task, people, _kept(window, row.key))


def _task(window: Window, row: LsTask) -> Json | None:
    """The task by its id, if it is still ours; else by our key."""
    found = window.client.tasks(window.project.ls_project_id, [row.ls_task_id]).get(row.ls_task_id)
    if found and found["data"].get(KEY) == row.key:
        return found
    ids = window.client.find_tasks(window.project.ls_project_id, [row.key]).get(row.key, [])
    return window.client.tasks(window.project.ls_project_id, ids[:1]).get(ids[0]) if ids else None


@contextmanager
def _patiently(database: Database, name: str, refusal: str) -> Iterator[HeldLease]:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        with hold(database, name, LEASE_SECONDS) as lease:
            if lease is not None:
                yield lease
                return
        if time.monotonic() >= until:
            raise ConflictError(refusal, "Ask again in a few seconds.")
        time.sleep(0.1)


def _desk(window: Window) -> Desk:
    """To push with. No model is loaded: a task that is answered at once needs no pre-annotation."""
    tags = parse(window.project.label_config)
    return Desk(window.database, window.settings, window.client, window.project, tags, None)
