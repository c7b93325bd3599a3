"""Push pending queue items to Label Studio as tasks with pre-annotations: exactly once in effect.

Label Studio never deduplicates and may commit after our time-out. So: one pusher at a time (a lease), chunks, and no retry of an
import: what failed stays pending. An item is marked as sent before the first import that carries it, so the next push knows which
keys to look up, and a clean one looks up none. A twin that a late commit left behind is found and repaired here and by the pull.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session, joinedload

from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import AnnotationRevision, Answer, LsTask, QueueItem, Review, utcnow
from labelwheel.errors import ConflictError, InputError, LabelStudioRefused, LabelwheelError
from labelwheel.labelstudio.port import Studio
from labelwheel.lease import HeldLease, hold
from labelwheel.project import current_project
from labelwheel.settings import Settings
from labelwheel.vision.label_config import pushed_tag
from sync.exchange.desk import Desk, keep, open_desk
from sync.exchange.pre_annotate import add, pre_annotate, why_not
from sync.exchange.reset import held, look
from sync.exchange.task import task_key, task_payload
from sync.exchange.twins import settle_twins
from sync.queue import move_all, set_aside

log = structlog.get_logger(__name__)

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a chunk: Label Studio's id of each item that is a task now, and why others cannot become one. By item id."""

    tasks: Mapping[int, int]
    faults: Mapping[int, str]


def push(database: Database, settings: Settings, client: Studio) -> int:
    """Push everything that is pending, most urgent first; return how many items are tasks now.

    Nothing while the pull is held: see `sync.exchange.reset`.
    """
    with database.read() as session:
        if held(session, current_project(session, settings).id):
            return 0
    desk = open_desk(database, settings, client)
    pushed = 0
    with hold(database, f"push:{desk.project.id}") as lease:
        while lease and lease.renew() and (items := _pending(desk)):
            pushed += _push_chunk(desk, items, lease)
    return pushed


def push_item(desk: Desk, item_id: int) -> None:
    """Push one item, if it is pending. Raises ConflictError while a push is under way: it will be a task in a moment; WentBack where the
    project is another one."""
    look(desk.client, desk.project)
    with hold(desk.database, f"push:{desk.project.id}") as lease:
        if lease is None:
            raise ConflictError(f"Item {item_id} is being pushed just now.", "Ask again in a few seconds.")
        _push_chunk(desk, _pending(desk, item_id), lease)


def _pending(desk: Desk, only: int | None = None) -> list[QueueItem]:
    """The next chunk, or one item of it.

    Items that were never sent are marked as sent; that they had not been is still to be seen on what is returned.
    """
    with desk.database.write() as session:
        items = list(session.scalars(_query(desk, only).limit(desk.settings.push_chunk)))
        first = [item.id for item in items if item.sent_at is None]
        now = utcnow()
        session.execute(
            update(QueueItem).where(QueueItem.id.in_(first)).values(sent_at=now), execution_options={"synchronize_session": False}
        )
    return items


def _query(desk: Desk, only: int | None) -> Select[QueueItem]:
    waiting = [QueueItem.project_id == desk.project.id, QueueItem.status == "pending", QueueItem.fault.is_(None)]
    if only is not None:
        waiting.append(QueueItem.id == only)
    query = select(QueueItem).where(*waiting).order_by(QueueItem.priority.desc(), QueueItem.id)
    return query.options(joinedload(QueueItem.image), joinedload(QueueItem.capture))


def _push_chunk(desk: Desk, items: Sequence[QueueItem], lease: HeldLease) -> int:
    there = _already_there(desk, [item for item in items if item.sent_at is not None], lease)
    _catch_up(desk, {item: there[item.id] for item in items if item.id in there})
    fresh = [item for item in items if item.id not in there]
    payloads, unfit = _payloads(desk, fresh)
    sent = _send(desk, payloads, lease)
    outcome = Outcome({**there, **sent.tasks}, {**unfit, **sent.faults})
    _record(desk, items, outcome, {item.id for item in fresh})
    return len(outcome.tasks)


def _already_there(desk: Desk, items: Sequence[QueueItem], lease: HeldLease) -> dict[int, int]:
    """Tasks of items that an earlier push has sent, whatever it heard of them."""
    if not items:
        return {}
    by_key = {task_key(item): item.id for item in items}
    found = desk.client.find_tasks(desk.project.ls_project_id, list(by_key))
    return {by_key[key]: tasks[0] for key, tasks in settle_twins(desk.client, desk.project, found, lease).items()}


def _catch_up(desk: Desk, there: Mapping[QueueItem, int]) -> None:
    """Give the present pre-annotation to tasks that a refresh passed over, as nobody had recorded them then."""
    if not there or desk.served_as is None:
        return
    seen = desk.client.tasks(desk.project.ls_project_id, there.values())
    shown = {number: {entry.get("model_version") for entry in task.get("predictions") or []} for number, task in seen.items()}
    stale = {item: number for item, number in there.items() if number in shown and desk.served_as not in shown[number]}
    made = pre_annotate(desk, list(stale))
    missing = ((number, item, made[item.id]) for item, number in stale.items() if item.id in made)
    add(desk, {number: (item, prediction) for number, item, prediction in missing if not why_not(desk, item, prediction)})


def _payloads(desk: Desk, items: Sequence[QueueItem]) -> tuple[dict[int, Payload], dict[int, str]]:
    """What is sent for each item, and why some cannot be sent."""
    predictions = pre_annotate(desk, items)
    payloads: dict[int, Payload] = {}
    faults: dict[int, str] = {}
    for item in items:
        try:
            payloads[item.id] = _payload(desk, item, predictions.get(item.id))
        except LabelwheelError as error:
            faults[item.id] = str(error)
        except Exception as error:  # one odd row stops no other
            log.exception("item cannot be made a task", item=item.id)
            faults[item.id] = f"{type(error).__name__}: {error}"
    return payloads, faults


def _payload(desk: Desk, item: QueueItem, prediction: Payload | None) -> Payload:
    if prediction and (fault := why_not(desk, item, prediction)):
        raise InputError(f"The pre-annotation does not fit the label config: {fault}.", "Run `labelwheel connect`.")
    return task_payload(item, pushed_tag(desk.tags), desk.settings, prediction)


def _send(desk: Desk, payloads: Mapping[int, Payload], lease: HeldLease) -> Outcome:
    """Import; where Label Studio refuses some, the others all the same."""
    refused: dict[int, LabelStudioRefused] = {}
    tasks = _halve(desk, list(payloads.items()), refused, lease) if payloads else {}
    if len(payloads) > 1 and len(refused) == len(payloads):
        raise next(iter(refused.values()))  # nothing of one item: the project refuses whatever comes
    return Outcome(tasks, {item: str(error) for item, error in refused.items()})


def _halve(desk: Desk, payloads: Sequence[tuple[int, Payload]], refused: dict[int, LabelStudioRefused], lease: HeldLease) -> dict[int, int]:
    """Label Studio refuses an import as a whole, before it stores any of it: halve it until the refused items are alone."""
    keep(lease)
    try:
        ids = desk.client.import_tasks(desk.project.ls_project_id, [payload for _, payload in payloads])
    except LabelStudioRefused as error:
        if len(payloads) == 1:
            refused[payloads[0][0]] = error
            return {}
        middle = len(payloads) // 2
        return {**_halve(desk, payloads[:middle], refused, lease), **_halve(desk, payloads[middle:], refused, lease)}
    return {item: task for (item, _), task in zip(payloads, ids, strict=True)}


def _record(desk: Desk, items: Sequence[QueueItem], outcome: Outcome, fresh: set[int]) -> None:
    rows = [_row(desk, item, outcome.tasks[item.id], item.id in fresh) for item in items if item.id in outcome.tasks]
    there = {str(row["key"]): int(row["ls_task_id"]) for row in rows}
    with desk.database.write() as session:
        _rekey(session, desk.project.id, {int(row["queue_item_id"]): str(row["key"]) for row in rows})
        insert_absent(session, LsTask, rows)
        for row in session.scalars(
            select(LsTask).where(LsTask.project_id == desk.project.id, LsTask.ls_task_id == 0, LsTask.key.in_(list(there)))
        ):
            row.ls_task_id = there.get(row.key, 0)  # Label Studio had lost the task (see `sync.exchange.reset`)
        move_all(session, list(outcome.tasks), "pending", "pushed", "push", "became a task in Label Studio")
        # Read again: a person may have moved them meanwhile.
        for item in session.scalars(select(QueueItem).where(QueueItem.id.in_(list(outcome.faults)), QueueItem.status == "pending")):
            set_aside(session, item, "push", outcome.faults[item.id])


def _rekey(session: Session, project_id: int, keys: Mapping[int, str]) -> None:
    """Others had made the task, under a key of its own, and Label Studio has lost it: what was sent in its place is ours, and its row and
    all that was said of it go along. An item has one task."""
    lost = select(LsTask).where(
        LsTask.project_id == project_id, LsTask.ls_task_id == 0, LsTask.adopted, LsTask.queue_item_id.in_(list(keys))
    )
    for row in session.scalars(lost):
        key = keys[row.queue_item_id]
        for table in (AnnotationRevision, Review, Answer):
            session.execute(update(table).where(table.project_id == project_id, table.key == row.key).values(key=key))
        row.key, row.adopted = key, False
    session.flush()


def _row(desk: Desk, item: QueueItem, ls_task_id: int, fresh: bool) -> dict[str, Any]:
    served_as = desk.served_as if fresh else None
    key = task_key(item)
    return {
        "project_id": desk.project.id,
        "key": key,
        "queue_item_id": item.id,
        "ls_task_id": ls_task_id,
        "generation": 1,
        "served_as": served_as,
    }
