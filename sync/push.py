"""Push pending queue items to Label Studio as tasks with pre-annotations: exactly once in effect.

Label Studio never deduplicates and may commit after our time-out. So: one pusher at a time (a lease), small chunks, a
look-up by our key before every import, and no retry of an import: what failed stays pending, and the next push finds out by
key whether it arrived. A twin that a late commit left behind is deleted, unless a person has worked on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import LsTask, QueueItem
from labelwheel.labelstudio.client import LabelStudio
from labelwheel.lease import hold
from labelwheel.settings import Settings
from labelwheel.vision.label_config import pushed_tag
from sync.desk import Desk, open_desk
from sync.pre_annotate import pre_annotate
from sync.queue import move
from sync.reset import held
from sync.task import task_key, task_payload

log = structlog.get_logger(__name__)


def push(database: Database, settings: Settings, client: LabelStudio) -> int:
    """Push everything that is pending, most urgent first; return how many items are tasks now. Nothing while the pull is held: see `sync.reset`."""
    desk = open_desk(database, settings, client)
    pushed = 0
    with database.read() as session:
        if held(session, desk.project.id):
            return 0
    with hold(database, f"push:{desk.project.id}") as lease:
        while lease and lease.renew() and (items := _pending(desk)):
            pushed += _push_chunk(desk, items)
    return pushed


def _pending(desk: Desk) -> list[QueueItem]:
    query = select(QueueItem).where(QueueItem.project_id == desk.project.id, QueueItem.status == "pending")
    query = query.options(joinedload(QueueItem.image), joinedload(QueueItem.capture)).order_by(QueueItem.priority.desc(), QueueItem.id)
    with desk.database.read() as session:
        return list(session.scalars(query.limit(desk.settings.push_chunk)))


def _push_chunk(desk: Desk, items: Sequence[QueueItem]) -> int:
    there = _settle_twins(desk, desk.client.find_tasks(desk.project.ls_project_id, [task_key(item) for item in items]))
    fresh = [item for item in items if task_key(item) not in there]
    shown = pre_annotate(desk, fresh)
    payloads = [task_payload(item, pushed_tag(desk.tags), desk.settings, shown.get(item.id)) for item in fresh]
    ids = desk.client.import_tasks(desk.project.ls_project_id, payloads)
    there.update({task_key(item): ls_task_id for item, ls_task_id in zip(fresh, ids, strict=True)})
    _record(desk, items, there, {task_key(item) for item in fresh})
    return len(items)


def _settle_twins(desk: Desk, found: dict[str, list[int]]) -> dict[str, int]:
    """One task per key. A push that timed out may have been committed after the next look-up."""
    return {key: ids[0] if len(ids) == 1 else _settle(desk, key, ids) for key, ids in found.items()}


def _settle(desk: Desk, key: str, twins: Sequence[int]) -> int:
    """Keep the oldest task that a person worked on, else the oldest; delete those that nobody touched, and no other."""
    untouched = [ls_task_id for ls_task_id in twins if desk.client.is_untouched(ls_task_id)]
    kept = min(set(twins) - set(untouched), default=twins[0])
    idle = [ls_task_id for ls_task_id in untouched if ls_task_id != kept]
    desk.client.delete_tasks(desk.project.ls_project_id, idle)
    log.warning("late twins", key=key, kept=kept, deleted=idle, worked_on=sorted(set(twins) - set(idle) - {kept}))
    return kept


def _record(desk: Desk, items: Sequence[QueueItem], there: dict[str, int], fresh: set[str]) -> None:
    rows = [
        {
            "project_id": desk.project.id,
            "key": task_key(item),
            "queue_item_id": item.id,
            "ls_task_id": there[task_key(item)],
            "generation": 1,
            "served_as": desk.served_as if task_key(item) in fresh else None,
        }
        for item in items
    ]
    with desk.database.write() as session:
        insert_absent(session, LsTask, rows)
        for item in session.scalars(select(QueueItem).where(QueueItem.id.in_([item.id for item in items]), QueueItem.status == "pending")):
            move(session, item, "pushed", "push", "became a task in Label Studio")
