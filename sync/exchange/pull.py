"""Pull: the incremental reconciler. A webhook is a hint that makes it run sooner; what it sees is the truth.

Each pull asks what changed since the last one. Now and then, after a hint, and whenever the tasks seen last are not as they
were, a sweep compares the list of all tasks: deletions show up in no list of changes, and neither does a restored backup.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Any, cast

import structlog
from sqlalchemy import Table, bindparam, exists, select, update
from sqlalchemy.orm import Session

from labelwheel import queue
from labelwheel.database import Database
from labelwheel.database.tables import IMPORTED, AnnotationRevision, Hint, LsTask, Project, QueueEvent, QueueItem, utcnow
from labelwheel.errors import InputError, WentBack
from labelwheel.labelstudio.client import KEY
from labelwheel.labelstudio.client import Project as There
from labelwheel.labelstudio.port import Studio
from labelwheel.lease import HeldLease, hold
from labelwheel.project import current_project, grow_class_map
from labelwheel.schedule import claim, fire_time
from labelwheel.settings import Settings
from labelwheel.vision.label_config import parse, trained_labels
from sync.exchange.adopt import ask_for_adoption
from sync.exchange.desk import keep
from sync.exchange.mirror import CLOCK, locked_tasks, mirror_tasks
from sync.exchange.reset import Watch, held, look, standing, stop
from sync.exchange.sweep import Known, Sweep, compare
from sync.exchange.twins import awaited_keys, repair
from sync.queue import move
from sync.review.authors import name_authors
from sync.review.reading import Reading, is_applied, reading_of
from sync.review.rebuild import rebuild
from sync.review.settle import mark_deleted, settle
from sync.selection.pool import EXPIRY

log = structlog.get_logger(__name__)

OVERLAP = timedelta(seconds=5)  # Label Studio stamps a row before it commits it: look back a little each time
BATCH = 20  # of one transaction: while it runs on SQLite, every webhook waits, and with it an annotator
DELETED = ("TASK_DELETED", "TASKS_DELETED")
PROBED = 3  # tasks that are looked at again: the newest that we saw are the first to show that a server went back
ROWS = 500
FAR = datetime.max.replace(tzinfo=UTC)


def pull(database: Database, settings: Settings, client: Studio, *, thorough: bool = False, accepted: bool = False) -> int:
    """Mirror what changed since the last pull; return how many of our tasks were looked at.

    `thorough` sweeps for deletions in any case. While the pull is held (see `sync.exchange.reset`) nothing is done; `accepted` says that a
    person has just decided that Label Studio is right.
    """
    began = utcnow()
    with database.read() as session:
        project = current_project(session, settings)
        hints = list(session.scalars(select(Hint).where(Hint.project_id == project.id, Hint.handled_at.is_(None)).order_by(Hint.id)))
        if held(session, project.id):
            return 0
    with hold(database, f"pull:{project.id}") as lease:
        if lease is None:
            return 0
        try:
            there = look(client, project)
            turn = _prepared(database, settings, client, project, there, lease, accepted)
            if thorough or _sweep_due(turn, hints):
                _sweep(turn)
            seen = _pull_changes(turn)
            repair(database, client, project, turn.doubted)
        except WentBack as reason:
            stop(database, project.id, reason.message, began)
            return 0
        _settle_hints(database, hints)
    if seen:
        queue.ring("retrain.consider")
        queue.ring("sync.check")
    return seen


@dataclass
class Turn:
    """What one pull works with, and the keys that it found a task of which is not the recorded one."""

    database: Database
    settings: Settings
    client: Studio
    project: Project
    reading: Reading
    lease: HeldLease
    watch: Watch
    doubted: set[str] = field(default_factory=set)

    @cached_property
    def people(self) -> dict[int, str]:
        return self.client.people()

    def renew(self) -> None:
        keep(self.lease)  # another pull has begun where the cursor stands


def _prepared(
    database: Database, settings: Settings, client: Studio, project: Project, there: There, lease: HeldLease, accepted: bool
) -> Turn:
    """Read as Label Studio's label config and our settings say now; when that is new, read everything anew."""
    _note_project(database, project, there)
    with database.read() as session:
        project = session.get_one(Project, project.id)
        reading = reading_of(session, project, settings)
        watch = Watch(standing(session, project.id), settings.vanish_share, off=accepted)
        read_so = is_applied(session, project.id, reading)
    turn = Turn(database, settings, client, project, reading, lease, watch)
    if not read_so:
        rebuild(database, project.id, reading, beat=turn.renew)
    return turn


def _note_project(database: Database, project: Project, there: There) -> None:
    """When it was made, and what can be drawn in it. Whether a new label config is used for the rest, `labelwheel connect` decides."""
    edited = there.label_config != project.label_config
    if project.ls_created_at is not None and not edited:
        return
    with database.write() as session:
        row = session.get_one(Project, project.id)
        row.ls_created_at = row.ls_created_at or there.created_at
        try:
            labels = trained_labels(parse(there.label_config)) if edited else []
        except InputError as error:
            log.warning("label config cannot be read", error=error.message)  # doctor names it
            return
        if edited:
            grow_class_map(session, project.id, labels, there.label_config)


def _pull_changes(turn: Turn) -> int:
    seen, project, march = 0, turn.project, March(turn.project.pull_cursor)
    since = march.cursor - OVERLAP if march.cursor else None
    for tasks in _batches(turn.client.changed_tasks(project.ls_project_id, since), BATCH):
        seen += _mirror(turn, tasks, march)
    return seen


@dataclass
class March:
    """How far the cursor may go: not beyond a task that a push has sent and not recorded yet, for what people do on it is read again then."""

    cursor: datetime | None
    halt: datetime = FAR

    def on(self, tasks: Sequence[dict[str, Any]], awaited: Collection[str]) -> datetime:
        """Take a batch in, of which some keys are `awaited`."""
        moments = {task["id"]: datetime.fromisoformat(task["updated_at"]) for task in tasks}
        self.halt = min([self.halt, *(moments[task["id"]] for task in tasks if task["data"].get(KEY) in awaited)])
        self.cursor = min(self.halt, max([*moments.values(), *([self.cursor] if self.cursor else [])]))
        return self.cursor


def _mirror(turn: Turn, tasks: Sequence[dict[str, Any]], march: March | None = None) -> int:
    people = turn.people if any(task.get("annotations") for task in tasks) else {}
    turn.renew()  # after the last word of Label Studio's: what is older than what another pull has mirrored would look as if it went back
    with turn.database.write() as session:  # mirror and cursor move together: a crash repeats the batch, never skips it
        change = mirror_tasks(session, turn.project, tasks, people, accepted=turn.watch.off)
        turn.watch.count(change.vanished)
        name_authors(session, turn.project.id, change)
        settle(session, turn.project.id, turn.reading, change.touched, change.keys)
        if turn.settings.adopt and (strangers := _strangers(tasks, turn.project.pull_cursor)):
            ask_for_adoption(session, turn.project.id, after=min(strangers) - 1)
        if march:
            cursor = march.on(tasks, awaited_keys(session, turn.project.id))
            session.execute(update(Project).where(Project.id == turn.project.id).values(pull_cursor=cursor))
    turn.doubted |= {one.row.key for one in change.seen if one.row.ls_task_id != int(one.task["id"])}
    return len(change.keys)


def _strangers(tasks: Sequence[dict[str, Any]], seen_to: datetime | None) -> list[int]:
    """Tasks that others made, or changed, since the last pull. One that cannot be adopted is not tried at each look back."""
    new = (task for task in tasks if seen_to is None or datetime.fromisoformat(task["updated_at"]) > seen_to)
    return [int(task["id"]) for task in new if KEY not in task["data"]]


def _sweep_due(turn: Turn, hints: Sequence[Hint]) -> bool:
    """Reading the stamp of every task is dear: after a hint that some are gone, when the newest are not as we saw them, else now and then."""
    hinted = any(hint.action in DELETED for hint in hints)
    due = claim(turn.database, f"deletions:{turn.project.id}", fire_time(utcnow(), turn.settings.tick_deletions))
    return due or hinted or not _as_we_saw_them(turn)


def _as_we_saw_them(turn: Turn) -> bool:
    query = _known(turn.project.id).where(LsTask.ls_task_id != 0, LsTask.ls_updated_at.is_not(None))
    with turn.database.read() as session:
        newest = [_as_known(row) for row in session.execute(query.order_by(LsTask.ls_updated_at.desc()).limit(PROBED))]
    there = {
        (stamp.key, stamp.id): stamp.updated_at
        for stamp in turn.client.stamps(turn.project.ls_project_id, [task.ls_task_id for task in newest])
    }
    seen = [(there.get((task.key, task.ls_task_id)), task.updated_at) for task in newest]
    return all(now is not None and then is not None and now >= then - CLOCK for now, then in seen)


def _sweep(turn: Turn) -> None:
    """Compare the list of all tasks with what we know of ours."""
    with turn.database.read() as session:  # first ours, then theirs: what is pushed meanwhile is not missed
        known = [_as_known(row) for row in session.execute(_known(turn.project.id))]
        stood = _stood(session, turn.project.id)
    there = turn.client.stamps(turn.project.ls_project_id) if known or stood else ()
    found = compare(known, stood, there, turn.project.pull_cursor)
    turn.renew()
    if found.back and not turn.watch.off:
        raise WentBack(f"{len(found.back)} tasks are in an earlier state than we saw them in, first {found.back[0]}.")
    turn.watch.count({unique_id for pair in found.vanished for unique_id in stood[pair]})
    is_open = sum(task.status == "pushed" and task.ls_task_id != 0 for task in known)
    Watch(is_open, turn.settings.vanish_share, turn.watch.off, "open tasks").count(_lost_open(turn, found))
    turn.doubted |= set(found.twins)
    _note_moved(turn, found)
    _note_gone(turn, found)
    _note_vanished(turn, {unique_id for pair in found.vanished for unique_id in stood[pair]})
    for some in _batches(found.changed, BATCH):
        _mirror(turn, list(turn.client.tasks(turn.project.ls_project_id, some).values()))


def _known(project_id: int) -> Any:
    columns = (LsTask.id, LsTask.key, LsTask.ls_task_id, LsTask.ls_updated_at, QueueItem.status)
    return select(*columns).join(QueueItem).where(LsTask.project_id == project_id, QueueItem.status != "expired")


def _as_known(row: Any) -> Known:
    return Known(*row)


def _stood(session: Session, project_id: int) -> dict[tuple[str, int], set[str]]:
    """The annotations that stand in Label Studio, by key and id of their task."""
    columns = (AnnotationRevision.key, AnnotationRevision.ls_task_id, AnnotationRevision.unique_id)
    query = select(*columns).where(AnnotationRevision.project_id == project_id, ~AnnotationRevision.unique_id.startswith(IMPORTED))
    query = query.where(AnnotationRevision.deleted_at.is_(None), AnnotationRevision.lost_at.is_(None)).distinct()
    found: dict[tuple[str, int], set[str]] = {}
    for key, ls_task_id, unique_id in session.execute(query).tuples():
        found.setdefault((key, ls_task_id), set()).add(unique_id)
    return found


def _lost_open(turn: Turn, found: Sweep) -> set[str]:
    """Keys of the open tasks that are gone, beside those that our own expiry deletes: it notes them first."""
    noted = exists().where(QueueEvent.queue_item_id == LsTask.queue_item_id, QueueEvent.who == EXPIRY)
    keys = select(LsTask.key).join(QueueItem).where(QueueItem.status == "pushed", ~noted)
    lost: set[str] = set()
    for some in _batches(found.gone, ROWS):
        with turn.database.read() as session:
            lost.update(session.scalars(keys.where(LsTask.id.in_(some))))
    return lost


def _note_moved(turn: Turn, found: Sweep) -> None:
    for some in _batches(found.moved.items(), ROWS):
        with turn.database.write() as session:
            session.execute(update(LsTask), [{"id": row_id, "ls_task_id": task, "ls_updated_at": None} for row_id, task in some])


def _note_gone(turn: Turn, found: Sweep) -> None:
    for some in _batches(found.gone, BATCH):
        with turn.database.write() as session:
            mark_deleted(session, turn.project.id, turn.reading, _not_erased(session, some))
    for some in _batches(found.unanswered, BATCH):
        with turn.database.write() as session:
            for row in _not_erased(session, some):
                move(session, row.queue_item, "pending", "pull", "Label Studio lost the task before anybody had answered")
    if found.gone:
        log.warning("tasks deleted in Label Studio", count=len(found.gone))
    if found.unanswered:
        queue.ring("sync.push")


def _not_erased(session: Session, ids: Collection[int]) -> list[LsTask]:
    return [row for row in session.scalars(locked_tasks().where(LsTask.id.in_(ids))) if row.queue_item.image.erased_at is None]


def _note_vanished(turn: Turn, unique_ids: set[str]) -> None:
    """Annotations whose task is gone, though another of the same key is there."""
    for some in _batches(sorted(unique_ids), BATCH):
        with turn.database.write() as session:
            mine = (AnnotationRevision.project_id == turn.project.id, AnnotationRevision.unique_id.in_(some))
            keys = set(session.scalars(select(AnnotationRevision.key).where(*mine)))
            rows = list(session.scalars(locked_tasks().where(LsTask.project_id == turn.project.id, LsTask.key.in_(keys))))
            for entry in session.scalars(select(AnnotationRevision).where(*mine, AnnotationRevision.deleted_at.is_(None))):
                entry.deleted_at = utcnow()
            settle(session, turn.project.id, turn.reading, {row.queue_item.image_id for row in rows})


def _settle_hints(database: Database, hints: Sequence[Hint]) -> None:
    """Those that were read before the pull are handled, unless they were said again since; all in the order in which the intake takes them."""
    if not hints:
        return
    as_read = update(cast(Table, Hint.__table__)).where(Hint.id == bindparam("read_id"), Hint.times == bindparam("read_times"))
    read = [{"read_id": hint.id, "read_times": hint.times} for hint in sorted(hints, key=lambda hint: hint.digest)]
    with database.write() as session:
        session.execute(as_read.values(handled_at=utcnow()), read)


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
