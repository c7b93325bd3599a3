"""Refresh: after a deployment every open task gets the new version's pre-annotation, then Label Studio is told to show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import joinedload

from labelwheel.database import Database
from labelwheel.database.tables import Deployment, LsTask, QueueItem, utcnow
from labelwheel.labelstudio.client import LabelStudio
from labelwheel.lease import HeldLease, hold
from labelwheel.settings import Settings
from sync.push import Desk, open_desk, prediction_for

log = structlog.get_logger(__name__)

CHUNK = 50


def refresh(database: Database, settings: Settings, client: LabelStudio, deployment_id: int) -> int:
    """Bring the open tasks to the deployment's version; return how many got a new pre-annotation.

    What Label Studio shows is asked first, so that a refresh that died half-way goes on and doubles nothing.
    """
    desk = open_desk(database, settings, client)
    if desk.line_up is None or desk.line_up.champion.deployment_id != deployment_id:
        return 0  # overtaken by a newer deployment, which has its own refresh
    with hold(database, f"push:{desk.project.id}") as lease:  # the same lease as push: no task may slip in between
        if lease is None:
            return 0
        stale = _stale_tasks(desk)
        for start in range(0, len(stale), CHUNK):
            _refresh_chunk(desk, stale[start : start + CHUNK], lease)
        client.set_model_version(desk.project.ls_project_id, desk.line_up.served_as)
    with database.write() as session:
        session.execute(update(Deployment).where(Deployment.id == deployment_id).values(refreshed_at=utcnow()))
    log.info("open tasks refreshed", deployment=deployment_id, tasks=len(stale), model_version=desk.served_as)
    return len(stale)


def _stale_tasks(desk: Desk) -> list[dict[str, Any]]:
    tasks = desk.client.open_tasks(desk.project.ls_project_id)
    return [task for task in tasks if all(entry.get("model_version") != desk.served_as for entry in task.get("predictions") or [])]


def _refresh_chunk(desk: Desk, tasks: Sequence[dict[str, Any]], lease: HeldLease) -> None:
    lease.renew()
    by_key = {task["data"].get("labelwheel_key"): int(task["id"]) for task in tasks}
    predictions = []
    with desk.database.read() as session:
        query = select(LsTask).where(LsTask.project_id == desk.project.id, LsTask.key.in_([key for key in by_key if key]))
        load = joinedload(LsTask.queue_item)
        rows = list(session.scalars(query.options(load.joinedload(QueueItem.image), load.joinedload(QueueItem.capture))))
    for row in rows:
        prediction = prediction_for(desk, row.queue_item)
        if prediction:
            predictions.append({"task": by_key[row.key], **prediction})
    desk.client.import_predictions(desk.project.ls_project_id, predictions)
    with desk.database.write() as session:
        session.execute(update(LsTask).where(LsTask.id.in_([row.id for row in rows])).values(served_as=desk.served_as))
