"""Refresh: after a deployment every open task gets the new version's pre-annotation and its place by the new version's doubt.

Then, and only then, Label Studio is told to show that version. Nothing of it touches the tasks' `updated_at`, so no pull follows from it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Any

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import joinedload

from labelwheel.database import Database
from labelwheel.database.tables import Deployment, LsTask, QueueItem, utcnow
from labelwheel.errors import LabelStudioError, LabelStudioUnreachable
from labelwheel.labelstudio.client import KEY
from labelwheel.labelstudio.port import Studio
from labelwheel.lease import HeldLease, hold
from labelwheel.project import current_classes, current_project
from labelwheel.serving import newest_deployment
from labelwheel.settings import Settings
from sync.exchange.desk import Desk, open_desk
from sync.exchange.pre_annotate import add, pre_annotate, why_not
from sync.exchange.reset import held
from sync.selection.budget import rules
from sync.selection.pool import predictions
from sync.selection.reorder import doubt, moved

log = structlog.get_logger(__name__)

CHUNK = 500  # each import of predictions costs Label Studio a look at all tasks of the project
LEASE_SECONDS = 300  # a chunk of images that no model has seen takes a minute or two

Task = dict[str, Any]


def refresh(database: Database, settings: Settings, client: Studio, deployment_id: int, seconds: float = inf) -> int:
    """Bring the open tasks to the deployment's version; return how many got a new pre-annotation.

    What Label Studio shows is asked first, so that a refresh that died, or that its `seconds` ended, goes on and doubles nothing: until
    `deployment.refreshed_at` is set the sweep asks for it again. Nothing while the pull is held: see `sync.exchange.reset`.
    """
    if not _is_due(database, settings, deployment_id):
        return 0  # another project's, overtaken, or held: not worth loading models for
    desk = open_desk(database, settings, client)
    if desk.line_up is None or desk.line_up.champion.deployment_id != deployment_id:
        return 0  # overtaken by a newer deployment, which has its own refresh
    with hold(database, f"push:{desk.project.id}", LEASE_SECONDS) as lease:  # the same lease as push: no task may slip in between
        refreshed, complete = _bring_up(desk, lease, time.monotonic() + seconds) if lease else (0, False)
        if complete:
            client.set_model_version(desk.project.ls_project_id, desk.line_up.served_as)
    if complete:
        with database.write() as session:
            session.execute(update(Deployment).where(Deployment.id == deployment_id).values(refreshed_at=utcnow()))
        log.info("open tasks refreshed", deployment=deployment_id, tasks=refreshed, model_version=desk.served_as)
    return refreshed


def _is_due(database: Database, settings: Settings, deployment_id: int) -> bool:
    """Whether it serves, and Label Studio is believed."""
    with database.read() as session:
        project = current_project(session, settings)
        newest, pause = newest_deployment(session, project.id), held(session, project.id)
    return newest is not None and newest.id == deployment_id and pause is None


def _bring_up(desk: Desk, lease: HeldLease, until: float) -> tuple[int, bool]:
    """How many tasks were brought to the version, and whether none is left."""
    refreshed, stale = 0, desk.client.open_tasks_without(desk.project.ls_project_id, desk.served_as or "")
    for tasks in _chunks(stale, CHUNK):
        if time.monotonic() >= until or not lease.renew():
            return refreshed, False
        _refresh_chunk(desk, tasks)
        refreshed += len(tasks)
        log.info("open tasks being refreshed", done=refreshed, model_version=desk.served_as)
    return refreshed, True


def _refresh_chunk(desk: Desk, tasks: Sequence[Task]) -> None:
    by_key = {str(task["data"].get(KEY) or ""): task for task in tasks}
    twins: dict[str, list[int]] = defaultdict(list)  # late twins share a key
    for task in tasks:
        twins[str(task["data"].get(KEY) or "")].append(int(task["id"]))
    rows = _ours(desk, list(by_key))
    made = pre_annotate(desk, [row.queue_item for row in rows])
    fit = [row for row in rows if row.queue_item_id in made and not why_not(desk, row.queue_item, made[row.queue_item_id])]
    fresh = {task: (row.queue_item, made[row.queue_item_id]) for row in fit for task in twins[row.key]}
    if desk.settings.old_predictions == "remove":
        desk.client.delete_predictions(desk.project.ls_project_id, list(fresh))
    add(desk, fresh)
    _reorder(desk, rows, by_key)
    with desk.database.write() as session:
        session.execute(update(LsTask).where(LsTask.id.in_([row.id for row in rows])).values(served_as=desk.served_as))


def _ours(desk: Desk, keys: Sequence[str]) -> list[LsTask]:
    query = select(LsTask).where(LsTask.project_id == desk.project.id, LsTask.key.in_(keys))
    load = joinedload(LsTask.queue_item)
    with desk.database.read() as session:
        return list(session.scalars(query.options(load.joinedload(QueueItem.image), load.joinedload(QueueItem.capture))))


def _reorder(desk: Desk, rows: Sequence[LsTask], by_key: Mapping[str, Task]) -> None:
    """Give tasks the priority that the new version's doubt says. One that Label Studio refuses to move stays where it is."""
    wanted = _priorities(desk, rows, by_key)
    by_value: dict[float, list[LsTask]] = defaultdict(list)
    for row in rows:
        if row.key in wanted:
            by_value[wanted[row.key]].append(row)
    for value, moving in by_value.items():
        try:
            desk.client.set_number(desk.project.ls_project_id, [int(by_key[row.key]["id"]) for row in moving], "priority", value)
        except LabelStudioUnreachable:
            raise
        except LabelStudioError as error:
            log.warning("priorities not moved", error=error.message)
            return
        items = update(QueueItem).where(QueueItem.id.in_([row.queue_item_id for row in moving]))
        with desk.database.write() as session:  # a place is no touch: what nobody looks at expires all the same
            session.execute(items.values(priority=value, updated_at=QueueItem.updated_at))


def _priorities(desk: Desk, rows: Sequence[LsTask], by_key: Mapping[str, Task]) -> dict[str, float]:
    """New priorities by key, of those that move."""
    champion = desk.line_up.champion.model_version_id if desk.line_up else None
    with desk.database.read() as session:
        classes = current_classes(session, desk.project.id)
        seen = predictions(session, [row.queue_item.image_id for row in rows], champion, classes)
    told = rules(desk.settings, (), utcnow(), classes)
    found = {}
    for row in rows:
        look = seen.get(row.queue_item.image_id)
        place = moved(by_key[row.key]["data"].get("priority"), doubt(look.found, told) if look else None, row.queue_item.reason)
        if place is not None:
            found[row.key] = place
    return found


def _chunks(items: Iterable[Task], size: int) -> Iterator[list[Task]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
