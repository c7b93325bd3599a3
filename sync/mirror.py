"""Keep what Label Studio shows: every annotation in every state seen, and the labels that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Update, select, update
from sqlalchemy.orm import Session, joinedload

from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import IMPORTED, AnnotationRevision, Image, Label, LsTask, Project, QueueItem, utcnow
from labelwheel.vision.label_config import ControlTag
from sync.queue import move
from sync.review import Derived, Revision, derive, outcome


def mirror_tasks(
    session: Session, project: Project, tags: Sequence[ControlTag], tasks: Iterable[dict[str, Any]], people: Mapping[int, str]
) -> int:
    """Mirror whole tasks of Label Studio and bring labels and queue up to date; return how many were ours.

    `people` gives users' e-mail addresses by their ids.
    """
    by_key = {str(task["data"].get("labelwheel_key", "")): task for task in tasks}
    query = select(LsTask).where(LsTask.project_id == project.id, LsTask.key.in_(list(by_key)))
    ours = list(session.scalars(query.options(joinedload(LsTask.queue_item).joinedload(QueueItem.image))))
    for row in ours:
        task = by_key[row.key]
        row.ls_task_id = int(task["id"])
        _mirror_annotations(session, project.id, row.key, task, people)
        settle(session, row, tags)
    return len(ours)


def mark_deleted(session: Session, rows: Sequence[LsTask], tags: Sequence[ControlTag]) -> None:
    """Tasks that Label Studio no longer has: their annotations are gone, their items expire."""
    for row in rows:
        session.execute(_standing(row.project_id, row.key).values(deleted_at=utcnow()))
        _derive_labels(session, row, tags)
        move(session, row.queue_item, "expired", "pull", "the task was deleted in Label Studio")


def settle(session: Session, row: LsTask, tags: Sequence[ControlTag]) -> None:
    """Derive the labels of a task's image anew from the mirror, and move its queue item where they say."""
    mine = _derive_labels(session, row, tags)
    newest = max(mine, key=lambda revision: revision.updated_at, default=None)
    move(session, row.queue_item, outcome(mine), newest.annotator if newest else "pull", "seen in Label Studio")


def _derive_labels(session: Session, row: LsTask, tags: Sequence[ControlTag]) -> list[Revision]:
    """Bring the labels of the task's image up to date with the mirror; return the task's own revisions."""
    mirrored = settle_image(session, row.project_id, row.queue_item.image, tags)
    return [_revision(entry) for entry in mirrored if entry.key == row.key]


def settle_image(session: Session, project_id: int, image: Image, tags: Sequence[ControlTag]) -> list[AnnotationRevision]:
    """Derive the labels of an image anew from all that the mirror holds of it, which is returned."""
    keys = list(session.scalars(select(LsTask.key).join(QueueItem).where(QueueItem.image_id == image.id, LsTask.project_id == project_id)))
    mine = AnnotationRevision.key.in_([*keys, import_key(image)])
    mirrored = list(session.scalars(select(AnnotationRevision).where(AnnotationRevision.project_id == project_id, mine)))
    write_labels(session, project_id, image, derive([_revision(entry) for entry in mirrored], tags, image.width, image.height))
    return mirrored


def import_key(image: Image) -> str:
    """Key of what datasets say of an image: like that of a task, which it is not."""
    return f"{image.sha256[:32]}-import"


def write_labels(session: Session, project_id: int, image: Image, labels: Sequence[Derived]) -> None:
    """Make the image's label rows equal to the derived ones: new rows are added, pointers are set, content never changes."""
    rows = [_label_row(project_id, image.id, label) for label in labels]
    insert_absent(session, Label, rows)
    session.flush()
    by_revision = {row.annotation_revision_id: row for row in session.scalars(select(Label).where(Label.image_id == image.id))}
    for label in labels:
        row = by_revision[label.revision_id]
        row.superseded_by = by_revision[label.superseded_by].id if label.superseded_by else None
        row.withdrawn_at = label.withdrawn_at


def _mirror_annotations(session: Session, project_id: int, key: str, task: dict[str, Any], people: Mapping[int, str]) -> None:
    annotations = task.get("annotations") or []
    insert_absent(session, AnnotationRevision, [_revision_row(project_id, key, task, annotation, people) for annotation in annotations])
    there = [_identity(annotation) for annotation in annotations]
    session.execute(_standing(project_id, key).where(AnnotationRevision.unique_id.not_in(there)).values(deleted_at=utcnow()))


def _standing(project_id: int, key: str) -> Update:
    mine = update(AnnotationRevision).where(AnnotationRevision.project_id == project_id, AnnotationRevision.key == key)
    return mine.where(AnnotationRevision.deleted_at.is_(None))


def _revision_row(project_id: int, key: str, task: dict[str, Any], annotation: dict[str, Any], people: Mapping[int, str]) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "unique_id": _identity(annotation),
        "updated_at": datetime.fromisoformat(annotation["updated_at"]),
        "key": key,
        "ls_annotation_id": int(annotation["id"]),
        "ls_task_id": int(task["id"]),
        "annotator": _annotator(annotation.get("completed_by"), people),
        "was_cancelled": bool(annotation.get("was_cancelled")),
        "body": {name: value for name, value in annotation.items() if name != "project"},
        "seen_at": utcnow(),
    }


def _identity(annotation: dict[str, Any]) -> str:
    """Which annotation it is. Task lists leave Label Studio's own `unique_id` out, and ids are reused: the moment of creation tells them apart."""
    return f"{annotation['id']}@{annotation['created_at']}"


def _annotator(who: Any, people: Mapping[int, str]) -> str:
    identity: Any = who.get("id") if isinstance(who, dict) else who
    return people.get(identity, f"user {identity}")


def _revision(row: AnnotationRevision) -> Revision:
    result, imported = row.body.get("result") or [], row.unique_id.startswith(IMPORTED)
    return Revision(row.id, row.unique_id, row.updated_at, row.annotator, row.was_cancelled, row.deleted_at, result, imported)


def _label_row(project_id: int, image_id: int, label: Derived) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "image_id": image_id,
        "annotation_revision_id": label.revision_id,
        "boxes": label.boxes,
        "exclusions": label.exclusions,
        "annotator": label.annotator,
        "annotated_at": label.annotated_at,
        "approved_at": label.annotated_at,  # approval policy "on submit": the submission is the approval
        "created_at": utcnow(),
    }
