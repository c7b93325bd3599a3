"""Pull: the incremental reconciler. A webhook is a hint that makes it run sooner; what it sees is the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import joinedload

from labelwheel import queue
from labelwheel.database import Database
from labelwheel.database.tables import Hint, LsTask, Project, QueueItem, utcnow
from labelwheel.errors import LabelStudioError
from labelwheel.labelstudio.client import LabelStudio
from labelwheel.lease import HeldLease, hold
from labelwheel.project import current_project
from labelwheel.schedule import claim, fire_time
from labelwheel.settings import Settings
from labelwheel.vision.label_config import ControlTag, parse
from sync.mirror import mark_deleted, mirror_tasks

log = structlog.get_logger(__name__)

OVERLAP = timedelta(seconds=5)  # Label Studio stamps a row before it commits it: look back a little each time
BATCH = 100


def pull(database: Database, settings: Settings, client: LabelStudio) -> int:
    """Mirror what changed since the last pull; return how many of our tasks were looked at."""
    with database.read() as session:
        project = current_project(session, settings)
        hints = list(session.scalars(select(Hint).where(Hint.project_id == project.id, Hint.handled_at.is_(None)).order_by(Hint.id)))
    with hold(database, f"pull:{project.id}") as lease:
        if lease is None:
            return 0
        tags = parse(project.label_config)
        seen = _pull_changes(database, client, project, tags, lease)
        if _deletions_due(database, settings, project, hints):
            _sweep_deleted(database, client, project, tags)
        _settle_hints(database, project.id, hints)
    if seen:
        queue.ring("retrain.consider")
    return seen


def _pull_changes(database: Database, client: LabelStudio, project: Project, tags: Sequence[ControlTag], lease: HeldLease) -> int:
    seen, cursor = 0, project.pull_cursor
    since = cursor - OVERLAP if cursor else None
    people: dict[int, str] = {}
    for tasks in _batches(client.changed_tasks(project.ls_project_id, since), BATCH):
        cursor = max([datetime.fromisoformat(task["updated_at"]) for task in tasks] + ([cursor] if cursor else []))
        people = people or client.people()
        if not lease.renew():  # too slow: another pull has begun where the cursor stands
            raise LabelStudioError(
                "Label Studio answered so slowly that another pull took over.", "It goes on by itself; look at its load."
            )
        with database.write() as session:  # mirror and cursor move together: a crash repeats the batch, never skips it
            seen += mirror_tasks(session, project, tags, tasks, people)
            session.execute(update(Project).where(Project.id == project.id).values(pull_cursor=cursor))
    return seen


def _deletions_due(database: Database, settings: Settings, project: Project, hints: Sequence[Hint]) -> bool:
    """Looking for deleted tasks reads the id of every task: after a hint that some are gone, else once in the interval of the ticks."""
    hinted = any(hint.action == "TASKS_DELETED" for hint in hints)
    return claim(database, f"deletions:{project.id}", fire_time(utcnow(), settings.tick_pull)) or hinted


def _sweep_deleted(database: Database, client: LabelStudio, project: Project, tags: Sequence[ControlTag]) -> None:
    """Deleted tasks show up in no change list: compare ids, and look a task of ours up by key where its id is gone or not its alone."""
    with database.read() as session:
        query = select(LsTask).join(QueueItem).where(LsTask.project_id == project.id, QueueItem.status != "expired")
        ours = list(session.scalars(query))
    # Label Studio gives the id of a deleted newest task to the next one: that id is there, and yet one of the two tasks is not.
    holders = Counter(row.ls_task_id for row in ours)
    there = client.task_ids(project.ls_project_id) if ours else set()
    doubted = [row.key for row in ours if row.ls_task_id not in there or holders[row.ls_task_id] > 1]
    found = client.find_tasks(project.ls_project_id, doubted)
    if not doubted:
        return
    with database.write() as session:
        doubtful = select(LsTask).where(LsTask.project_id == project.id, LsTask.key.in_(doubted))
        rows = list(session.scalars(doubtful.options(joinedload(LsTask.queue_item).joinedload(QueueItem.image))))
        for row in rows:
            row.ls_task_id = min(found.get(row.key, [row.ls_task_id]))
        lost = [row for row in rows if row.key not in found]
        mark_deleted(session, lost, tags)
    if lost:
        log.warning("tasks deleted in Label Studio", count=len(lost))


def _settle_hints(database: Database, project_id: int, hints: Sequence[Hint]) -> None:
    if hints:
        seen = (Hint.project_id == project_id, Hint.id <= hints[-1].id, Hint.handled_at.is_(None))
        with database.write() as session:
            session.execute(update(Hint).where(*seen).values(handled_at=utcnow()))


def _batches(items: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
