"""Erase an image: first a tombstone and all that our tables say of it, in one step; then its tasks in Label Studio.

Rows stay, emptied: a capture is still counted, and a dataset still says that it held the image. Again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.orm import Session, joinedload

from labelwheel.database import Database
from labelwheel.database.tables import (
    AnnotationRevision,
    Capture,
    Correction,
    Image,
    ImageAddress,
    Label,
    LabelCheck,
    LsTask,
    Prediction,
    Project,
    QueueItem,
    utcnow,
)
from labelwheel.errors import ConflictError, InputError, NotFoundError
from labelwheel.labelstudio.port import Studio
from labelwheel.lease import hold
from sync.exchange.desk import keep
from sync.exchange.mirror import import_key
from sync.exchange.reset import look
from sync.exchange.task import task_key
from sync.queue import move
from sync.review.reading import Reading
from sync.review.settle import settle

SHORTEST = 8  # digits of a SHA-256 that name an image


@dataclass(frozen=True, slots=True)
class Tasks:
    """Label Studio's ids of an image's tasks: those of ours, which go, and those that others made, which are theirs to delete."""

    ours: list[int]
    others: list[int]


@dataclass(frozen=True, slots=True)
class Held:
    """What our tables hold of an image: its captures, queue items, predictions, annotations and labels, and the tasks they know of."""

    captures: int
    queue_items: int
    predictions: int
    annotations: int
    labels: int
    tasks: Tasks


def find_image(session: Session, project_id: int, name: str) -> Image:
    """The image of a SHA-256, of its first digits, or of an external id. Raises NotFoundError, InputError when several fit."""
    named = select(Capture.image_id).where(Capture.project_id == project_id, Capture.external_id == name)
    digits = [Image.sha256.startswith(name.lower(), autoescape=True)] if len(name) >= SHORTEST else []
    found = list(session.scalars(select(Image).where(Image.project_id == project_id, or_(Image.id.in_(named), *digits)).limit(2)))
    if not found:
        raise NotFoundError(f"No image is known as {name!r}.", f"Name it by its SHA-256 ({SHORTEST} digits or more) or its external id.")
    if len(found) > 1:
        raise InputError(f"Several images are known as {name!r}.", "Write more digits of its SHA-256.")
    return found[0]


def held(session: Session, project_id: int, image: Image) -> Held:
    """What erasing the image would empty or delete. Reads only."""

    def count(table: type[Capture | QueueItem | Prediction | Label]) -> int:
        return session.scalar(select(func.count()).select_from(table).where(table.image_id == image.id)) or 0

    revisions = select(func.count(AnnotationRevision.unique_id.distinct())).where(*_mirrored(session, project_id, image))
    tasks = select(LsTask.ls_task_id, LsTask.adopted).join(QueueItem).where(QueueItem.image_id == image.id, LsTask.ls_task_id > 0)
    known = session.execute(tasks.order_by(LsTask.ls_task_id)).tuples().all()
    return Held(
        captures=count(Capture),
        queue_items=count(QueueItem),
        predictions=count(Prediction),
        annotations=session.scalar(revisions) or 0,
        labels=count(Label),
        tasks=Tasks([task for task, adopted in known if not adopted], [task for task, adopted in known if adopted]),
    )


def bury(database: Database, project: Project, reading: Reading, image: Image, who: str, why: str) -> None:
    """The tombstone, and nothing else of the image in our tables: predictions, features, boxes, bodies of annotations."""
    with database.write() as session:
        session.execute(select(Image.id).where(Image.id == image.id).with_for_update())  # an arrival of these bytes ends first
        row = session.get_one(Image, image.id)
        row.erased_at = row.erased_at or utcnow()
        row.expired_at = row.expired_at or row.erased_at
        session.execute(update(Capture).where(Capture.image_id == image.id).values(features={}, descriptor=None))
        for table in (Prediction, ImageAddress):
            session.execute(delete(table).where(table.image_id == image.id))
        _empty_mirror(session, project.id, row)
        for item in session.scalars(select(QueueItem).where(QueueItem.image_id == image.id)):
            item.scores = {}
            move(session, item, "expired", who, f"the image was erased: {why}"[:500])
        settle(session, project.id, reading, [image.id])
        _empty_labels(session, image.id)


def delete_tasks(database: Database, client: Studio, project: Project, image: Image) -> Tasks:
    """Delete the image's tasks in Label Studio, as many rounds and twins as there are; again finds none.

    Those, too, that a push has sent and not recorded, as their answer was lost. Raises ConflictError while a push or refresh is under way,
    and LabelStudioError, WentBack among them.
    """
    with hold(database, f"push:{project.id}") as lease:
        if lease is None:
            raise ConflictError("A push or a refresh is under way.", "Ask again in a minute.")
        look(client, project)
        adopted = _keys(database, image)
        found = client.find_tasks(project.ls_project_id, list(adopted))
        ours = sorted(task for key, tasks in found.items() if not adopted[key] for task in tasks)
        keep(lease)
        client.delete_tasks(project.ls_project_id, ours)
    return Tasks(ours, sorted(task for key, tasks in found.items() if adopted[key] for task in tasks))


def _keys(database: Database, image: Image) -> dict[str, bool]:
    """Keys under which Label Studio may have tasks of the image, and whether others made them."""
    mine = QueueItem.image_id == image.id
    with database.read() as session:
        sent = {task_key(item): False for item in session.scalars(select(QueueItem).where(mine).options(joinedload(QueueItem.image)))}
        return sent | dict(session.execute(select(LsTask.key, LsTask.adopted).join(QueueItem).where(mine)).tuples().all())


def allow(database: Database, image: Image) -> None:
    """Lift the tombstone: the same bytes are taken when they come again."""
    with database.write() as session:
        session.execute(update(Image).where(Image.id == image.id).values(erased_at=None))


def _empty_mirror(session: Session, project_id: int, image: Image) -> None:
    mine = _mirrored(session, project_id, image)
    session.execute(update(AnnotationRevision).where(*mine, AnnotationRevision.deleted_at.is_(None)).values(deleted_at=utcnow()))
    session.execute(update(AnnotationRevision).where(*mine).values(body={"result": []}))


def _mirrored(session: Session, project_id: int, image: Image) -> tuple[ColumnElement[bool], ...]:
    """Conditions that the mirror's rows of an image meet."""
    keys = select(LsTask.key).join(QueueItem).where(LsTask.project_id == project_id, QueueItem.image_id == image.id)
    return AnnotationRevision.project_id == project_id, AnnotationRevision.key.in_([*session.scalars(keys), import_key(image)])


def _empty_labels(session: Session, image_id: int) -> None:
    labels = select(Label.id).where(Label.image_id == image_id)
    session.execute(update(LabelCheck).where(LabelCheck.label_id.in_(labels)).values(faults=[]))
    session.execute(update(Correction).where(Correction.image_id == image_id).values(outcomes=[]))
    session.execute(update(Label).where(Label.image_id == image_id).values(boxes=[], exclusions=[]))
