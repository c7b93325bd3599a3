"""Keep what Label Studio shows: every annotation in every state seen. `sync.review.settle` makes labels of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, contains_eager

from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import AnnotationRevision, Image, LsTask, Project, QueueItem, utcnow
from labelwheel.errors import WentBack
from labelwheel.labelstudio.client import KEY
from sync.corrections.correct import begun_from

CLOCK = timedelta(seconds=1)  # by which a server's clock may be set back, or two servers' clocks differ, without meaning anything
IMPORT_KEY = "-import"
UNSETTLED = ("pending", "expired")  # an item that is said to have no task, which was seen

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """A task of ours as Label Studio showed it (with `predictions`), and the annotation revisions that are new of it."""

    row: LsTask
    task: Json
    fresh: list[AnnotationRevision]


@dataclass
class Change:
    """What a look at some tasks brought: `vanished` annotations stood before, by their `unique_id`; `touched` images want settling."""

    seen: list[Seen] = field(default_factory=list)
    vanished: set[str] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)

    @property
    def keys(self) -> set[str]:
        """Keys of the tasks that were there."""
        return {one.row.key for one in self.seen}


def mirror_tasks(session: Session, project: Project, tasks: Iterable[Json], people: Mapping[int, str], *, accepted: bool = False) -> Change:
    """Mirror whole tasks of Label Studio; those that are not ours are passed over. Settle `touched` in the same transaction.

    `people` gives users' e-mail addresses by their ids. Raises WentBack when an annotation stands in an earlier state than we saw,
    unless somebody has `accepted` that.
    """
    by_key: dict[str, list[Json]] = defaultdict(list)
    for task in tasks:
        by_key[str(task["data"].get(KEY) or "")].append(task)
    rows = session.scalars(locked_tasks().where(LsTask.project_id == project.id, LsTask.key.in_(list(by_key))))
    # Of an image that was erased nothing shall come back, should its task still be there.
    ours = {row.key: row for row in rows if row.queue_item.image.erased_at is None}
    known = _known(session, project.id, list(ours))
    fresh = _insert(session, project.id, ours, by_key, known, people)
    change = Change()
    for key, row in ours.items():
        for task in by_key[key]:  # late twins share a key
            change.seen.append(Seen(row, task, [entry for entry in fresh.get(key, []) if entry.ls_task_id == int(task["id"])]))
            touched = _note_states(task, [*known.get(key, []), *fresh.get(key, [])], change, accepted=accepted)
            if touched or fresh.get(key) or row.queue_item.status in UNSETTLED:
                change.touched.add(row.queue_item.image_id)
        _note_task(row, by_key[key])
    return change


def locked_tasks() -> Select[LsTask]:
    """Our tasks with their items and images; the images' rows are locked, in the one order in which everybody locks them.

    Read so before anything of an image is changed, and what the mirror has of it afterwards: an erasure, which begins with the same lock,
    is then either seen or still to come. Whoever takes the image's row last would wait for it, and it for them, for ever.
    """
    query = select(LsTask).join(LsTask.queue_item).join(QueueItem.image)
    query = query.options(contains_eager(LsTask.queue_item).contains_eager(QueueItem.image)).order_by(Image.id, LsTask.id)
    return query.with_for_update(of=Image).execution_options(populate_existing=True)


def identity(annotation: Json) -> str:
    """Which annotation it is. Task lists leave Label Studio's own `unique_id` out, and ids are reused: the moment of creation tells them apart."""
    return f"{annotation['id']}@{annotation['created_at']}"


def import_key(image: Image) -> str:
    """Key of what datasets say of an image: like that of a task, which it is not."""
    return image.sha256[:32] + IMPORT_KEY


def _known(session: Session, project_id: int, keys: Sequence[str]) -> dict[str, list[AnnotationRevision]]:
    query = select(AnnotationRevision).where(AnnotationRevision.project_id == project_id, AnnotationRevision.key.in_(keys))
    found: dict[str, list[AnnotationRevision]] = defaultdict(list)
    for entry in session.scalars(query):
        found[entry.key].append(entry)
    return found


def _insert(
    session: Session,
    project_id: int,
    ours: Mapping[str, LsTask],
    by_key: Mapping[str, list[Json]],
    known: Mapping[str, list[AnnotationRevision]],
    people: Mapping[int, str],
) -> dict[str, list[AnnotationRevision]]:
    """Store the revisions that are new; return them by key."""
    there = {(entry.unique_id, entry.updated_at) for entries in known.values() for entry in entries}
    rows = [
        row
        for key in ours
        for task in by_key[key]
        for annotation in task.get("annotations") or []
        if ((row := _revision_row(project_id, key, task, annotation, people))["unique_id"], row["updated_at"]) not in there
    ]
    insert_absent(session, AnnotationRevision, rows)
    wanted = {(row["unique_id"], row["updated_at"]) for row in rows}
    query = select(AnnotationRevision).where(AnnotationRevision.project_id == project_id)
    query = query.where(AnnotationRevision.unique_id.in_({row["unique_id"] for row in rows})).order_by(AnnotationRevision.id)
    found: dict[str, list[AnnotationRevision]] = defaultdict(list)
    for entry in session.scalars(query):
        if (entry.unique_id, entry.updated_at) in wanted:
            found[entry.key].append(entry)
    return found


def _note_states(task: Json, mirrored: Sequence[AnnotationRevision], change: Change, *, accepted: bool) -> bool:
    """Set what stands and what is gone of a task's annotations; whether that changed."""
    shown = {identity(annotation): annotation for annotation in task.get("annotations") or []}
    mine = [entry for entry in mirrored if entry.unique_id in shown or entry.ls_task_id == int(task["id"])]
    changed = False
    for entry in mine:
        annotation = shown.get(entry.unique_id)
        now = datetime.fromisoformat(annotation["updated_at"]) if annotation else None
        if annotation and now and entry.updated_at <= now:
            changed |= _is_there(entry)
            changed |= entry.updated_at == now and _note_star(entry, annotation)
        elif entry.deleted_at is None and entry.lost_at is None:
            changed |= _is_gone(entry, now, change, accepted)
    return changed


def _is_there(entry: AnnotationRevision) -> bool:
    if entry.deleted_at is None and entry.lost_at is None:
        return False
    entry.deleted_at = entry.lost_at = None
    return True


def _note_star(entry: AnnotationRevision, annotation: Json) -> bool:
    """A star that moves to another annotation of the task leaves no trace on the one that loses it: its `updated_at` stays."""
    starred = bool(annotation.get("ground_truth"))
    if bool(entry.body.get("ground_truth")) == starred:
        return False
    entry.body = {**entry.body, "ground_truth": starred}
    return True


def _is_gone(entry: AnnotationRevision, now: datetime | None, change: Change, accepted: bool) -> bool:
    """It is shown no more, or (`now`) in an earlier state."""
    if now is not None and not accepted:
        if entry.updated_at - now <= CLOCK:
            return False
        raise WentBack(
            f"Annotation {entry.ls_annotation_id} of task {entry.ls_task_id} is as it was at {now:%Y-%m-%d %H:%M:%S} UTC, "
            f"though we saw it as of {entry.updated_at:%Y-%m-%d %H:%M:%S}."
        )
    if now is None:
        change.vanished.add(entry.unique_id)
    entry.deleted_at = utcnow()
    return True


def _note_task(row: LsTask, tasks: Sequence[Json]) -> None:
    """Which task of Label Studio's it is, and when it changed last. Of twins the known one stays."""
    by_id = {int(task["id"]): task for task in tasks}
    if row.ls_task_id == 0:
        row.ls_task_id = min(by_id)
    if row.ls_task_id in by_id:
        row.ls_updated_at = datetime.fromisoformat(by_id[row.ls_task_id]["updated_at"])


def _revision_row(project_id: int, key: str, task: Json, annotation: Json, people: Mapping[int, str]) -> Json:
    return {
        "project_id": project_id,
        "unique_id": identity(annotation),
        "updated_at": datetime.fromisoformat(annotation["updated_at"]),
        "key": key,
        "ls_annotation_id": int(annotation["id"]),
        "ls_task_id": int(task["id"]),
        "annotator": _annotator(annotation.get("updated_by") or annotation.get("completed_by"), people),
        "was_cancelled": bool(annotation.get("was_cancelled")),
        "body": {name: value for name, value in annotation.items() if name != "project"} | _beginning(task, annotation),
        "seen_at": utcnow(),
    }


def _beginning(task: Json, annotation: Json) -> Json:
    """The prediction that the annotation began from, where Label Studio itself keeps it: lists of tasks leave it out, and it may be deleted later."""
    found = begun_from(annotation, task.get("predictions") or [])
    return {} if found is None else {"prediction": found}


def _annotator(who: Any, people: Mapping[int, str]) -> str:
    number: Any = who.get("id") if isinstance(who, dict) else who
    return people.get(number, f"user {number}")
