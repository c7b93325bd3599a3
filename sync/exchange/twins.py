"""Late twins: Label Studio may commit an import after our time-out, even after the next look-up, and then a key has two tasks.

One of them is kept: one that somebody worked on, else the recorded one, else the oldest. Others that nobody touched are deleted, and no
other. Label Studio cannot delete on a condition, so whoever begins in the moment between look and deletion loses that beginning.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import structlog
from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from labelwheel.database import Database
from labelwheel.database.tables import LsTask, Project, QueueItem
from labelwheel.labelstudio.port import Studio
from labelwheel.lease import HeldLease, hold
from sync.exchange.desk import keep
from sync.exchange.task import task_key

log = structlog.get_logger(__name__)


def choose_twin(untouched: Mapping[int, bool], recorded: int | None) -> int:
    """Which of a key's tasks stays. `untouched` says of each task id whether nobody worked on it."""
    return min(untouched, key=lambda task: (untouched[task], task != recorded, task))


def settle_twins(
    client: Studio,
    project: Project,
    found: Mapping[str, Sequence[int]],
    lease: HeldLease,
    recorded: Mapping[str, LsTask] | None = None,
) -> dict[str, list[int]]:
    """Delete idle twins; of each key the tasks that are left, the one to go by first. Under the lease of the push: two at once could each
    delete what the other keeps."""
    rows = recorded or {}
    return {key: list(ids) if len(ids) == 1 else _settle(client, project, key, ids, lease, rows.get(key)) for key, ids in found.items()}


def _settle(client: Studio, project: Project, key: str, twins: Sequence[int], lease: HeldLease, row: LsTask | None) -> list[int]:
    keep(lease)
    known, not_ours = (row.ls_task_id, row.adopted) if row else (None, False)
    untouched = {task: client.is_untouched(task) and not (not_ours and task == known) for task in twins}
    kept = choose_twin(untouched, known)
    idle = [task for task in twins if untouched[task] and task != kept]
    client.delete_tasks(project.ls_project_id, idle)
    left = [kept, *sorted(set(twins) - set(idle) - {kept})]
    log.warning("late twins", key=key, kept=kept, deleted=idle, worked_on=left[1:])
    return left


def awaited_keys(session: Session, project_id: int) -> set[str]:
    """Keys of tasks that a push has sent and not recorded yet: Label Studio may have them."""
    sent = select(QueueItem).where(QueueItem.project_id == project_id, QueueItem.status == "pending", QueueItem.sent_at.is_not(None))
    return {task_key(item) for item in session.scalars(sent.options(joinedload(QueueItem.image)))}


def repair(database: Database, client: Studio, project: Project, keys: Collection[str]) -> None:
    """Look keys up, bring each down to one task, and record which. A key without any task is left to the sweep.

    While a push is under way nothing is done: two repairs at once could each delete what the other keeps. The next sweep comes back.
    """
    if not keys:
        return
    with hold(database, f"push:{project.id}") as lease:
        if lease is None:
            return
        with database.read() as session:
            recorded = {row.key: row for row in session.scalars(_rows(project.id, keys))}
        left = settle_twins(client, project, client.find_tasks(project.ls_project_id, sorted(keys)), lease, recorded)
        with database.write() as session:
            for row in session.scalars(_rows(project.id, left)):
                if row.ls_task_id != left[row.key][0]:
                    row.ls_task_id, row.ls_updated_at = left[row.key][0], None


def _rows(project_id: int, keys: Collection[str]) -> Select[LsTask]:
    return select(LsTask).where(LsTask.project_id == project_id, LsTask.key.in_(keys))
