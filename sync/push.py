"""Push pending queue items to Label Studio as tasks with pre-annotations: exactly once in effect.

Label Studio never deduplicates and may commit after our time-out. So: one pusher at a time (a lease), small chunks, a
look-up by our key before every import, and no retry of an import: what failed stays pending, and the next push finds out by
key whether it arrived. A twin that a late commit left behind is deleted, unless a person has worked on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import LsTask, Project, QueueItem
from labelwheel.errors import LabelwheelError
from labelwheel.labelstudio.client import LabelStudio
from labelwheel.lease import hold
from labelwheel.project import current_project
from labelwheel.serving import LineUp, load_line_up, newest_line_up, predict_stored
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision.label_config import ControlTag, parse, pushed_tag, shown_tags
from labelwheel.vision.pre_annotation import Sight, View, pre_annotation, tags_by_view
from sync.queue import move
from sync.second_look import drawn_again
from sync.task import task_key, task_payload

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """What one push or refresh works with."""

    database: Database
    settings: Settings
    client: LabelStudio
    project: Project
    tags: list[ControlTag]
    line_up: LineUp | None

    @property
    def served_as(self) -> str | None:
        """The `model_version` of the pre-annotations; None without a model."""
        return self.line_up.served_as if self.line_up else None


def open_desk(database: Database, settings: Settings, client: LabelStudio) -> Desk:
    """Gather project, tags and served models; errors are those of `current_project`, `parse` and `load_line_up`."""
    with database.read() as session:
        project = current_project(session, settings)
        rows = newest_line_up(session, project.id)
    line_up = load_line_up(rows, settings) if rows else None
    return Desk(database, settings, client, project, parse(project.label_config), line_up)


def push(database: Database, settings: Settings, client: LabelStudio) -> int:
    """Push everything that is pending, most urgent first; return how many items are tasks now."""
    desk = open_desk(database, settings, client)
    pushed = 0
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
    payloads = [task_payload(item, pushed_tag(desk.tags), desk.settings, prediction_for(desk, item)) for item in fresh]
    ids = desk.client.import_tasks(desk.project.ls_project_id, payloads)
    there.update({task_key(item): ls_task_id for item, ls_task_id in zip(fresh, ids, strict=True)})
    _record(desk, items, there, {task_key(item) for item in fresh})
    return len(items)


def prediction_for(desk: Desk, item: QueueItem) -> dict[str, Any] | None:
    """The pre-annotation of an item by the served models; None without a model or for an image that cannot be read.

    Of a label that is doubted it is the label, as it was drawn.
    """
    doubted = _doubted(desk, item) if item.reason == "label_error" and desk.served_as else None
    if doubted is not None:
        return doubted
    try:
        sights = _sights(desk, desk.line_up, item) if desk.line_up else {}
    except LabelwheelError as error:  # the person can still label it
        log.warning("no pre-annotation", item=item.id, error=error.message)
        return None
    return pre_annotation(sights, shown_tags(desk.tags), desk.served_as or "", desk.settings.display_threshold) if sights else None


def _doubted(desk: Desk, item: QueueItem) -> dict[str, Any] | None:
    with desk.database.read() as session:
        return drawn_again(session, item.image_id, desk.served_as or "")


def _sights(desk: Desk, line_up: LineUp, item: QueueItem) -> dict[View, Sight]:
    """What the models see that tags show of our tasks' one image."""
    store, ours = ImageStore(desk.settings.images_dir), pushed_tag(desk.tags).value_key
    views = [view for view in tags_by_view(shown_tags(desk.tags)) if view[0] == ours and view[1] in line_up.models]
    found = {view: predict_stored(desk.database, line_up.models[view[1]], item.image, store, desk.settings) for view in views}
    return {view: Sight(detections, item.image.width, item.image.height) for view, detections in found.items()}


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
