"""Expiry: what was selected and nobody touched for too long leaves the queue, and Label Studio.

Only what selection chose by doubt, drift or novelty: audits are a sample, and a second look was asked for by somebody. A task that was there
before us, or that anybody has submitted, skipped or begun to draw on, stays. Of an expired item the image is free again for a later
model: see `sync.selection.pool`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import exists, select
from sqlalchemy.orm import Session, joinedload

from labelwheel.database import Database
from labelwheel.database.tables import OPEN_STATUSES, LsTask, Project, QueueEvent, QueueItem
from labelwheel.labelstudio.client import LabelStudio
from labelwheel.labelstudio.provision import ensure_view
from labelwheel.lease import hold
from labelwheel.pause import paused
from labelwheel.project import current_project
from labelwheel.settings import Settings
from sync.exchange import reset
from sync.exchange.task import task_key
from sync.queue import move
from sync.selection.pool import EXPIRY

log = structlog.get_logger(__name__)

REASONS = ("low_confidence", "drift", "novelty")
CHUNK = 50


def expire(database: Database, settings: Settings, client: LabelStudio, now: datetime) -> int:
    """Take back what is too old; return how many items that were. While selection is paused, or the pull is held, nothing is."""
    with database.read() as session:
        project = current_project(session, settings)
        rests = paused(session, project.id) or reset.held(session, project.id)
    if rests or not settings.queue_days:
        return 0
    since, why = now - timedelta(days=settings.queue_days), f"nobody touched it in {settings.queue_days} days"
    taken, last = 0, 0
    with hold(database, f"push:{project.id}") as lease:  # the same lease as push: nothing is pushed while it expires
        while lease and lease.renew() and (items := _stale(database, project.id, since, last)):
            taken, last = taken + _take_back(database, client, project, items, why), items[-1].id
        if taken:
            ensure_view(client, project.ls_project_id)  # Label Studio drops its tabs with the last task
    if taken:
        log.info("queue items expired", count=taken)
    return taken


def _stale(database: Database, project_id: int, since: datetime, after: int) -> list[QueueItem]:
    adopted = exists().where(LsTask.queue_item_id == QueueItem.id, LsTask.adopted)
    query = select(QueueItem).where(QueueItem.project_id == project_id, QueueItem.status.in_(OPEN_STATUSES), QueueItem.reason.in_(REASONS))
    query = query.where(QueueItem.updated_at < since, ~adopted, QueueItem.id > after).order_by(QueueItem.id).limit(CHUNK)
    with database.read() as session:
        return list(session.scalars(query.options(joinedload(QueueItem.image))))


def _take_back(database: Database, client: LabelStudio, project: Project, items: Sequence[QueueItem], why: str) -> int:
    """Delete the tasks that nobody touched, and let their items expire. What we are about to do is written down first.

    A crash in between leaves tasks that are gone: the next expiry, or a pull, moves their items, and the note says that it was us.
    """
    keys = {item.id: task_key(item) for item in items}
    there = client.find_tasks(project.ls_project_id, list(keys.values()))
    untouched = client.find_untouched(project.ls_project_id, list(keys.values()))
    with database.write() as session:
        noted = _noted(session, keys)
        lost = {item.id for item in items if keys[item.id] not in there and (item.status == "pending" or item.id in noted)}
        idle = {number for number, key in keys.items() if key in there and there[key] == untouched.get(key)}
        notes = (QueueEvent(queue_item_id=number, status="pushed", who=EXPIRY, why=f"is taken back: {why}") for number in idle - noted)
        session.add_all(notes)
    client.delete_tasks(project.ls_project_id, [task_id for number in idle for task_id in there[keys[number]]])
    return _move(database, idle | lost, why)


def _noted(session: Session, item_ids: Iterable[int]) -> set[int]:
    """Items whose tasks an expiry was about to delete."""
    return set(session.scalars(select(QueueEvent.queue_item_id).where(QueueEvent.queue_item_id.in_(item_ids), QueueEvent.who == EXPIRY)))


def _move(database: Database, item_ids: Iterable[int], why: str) -> int:
    with database.write() as session:
        items = list(session.scalars(select(QueueItem).where(QueueItem.id.in_(item_ids), QueueItem.status.in_(OPEN_STATUSES))))
        for item in items:
            move(session, item, "expired", EXPIRY, why)
    return len(items)
