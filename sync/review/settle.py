"""Make labels and queue equal to what follows from mirror, reviews and reading; how often, and in which order, does not matter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session, contains_eager

from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import (
    IMPORTED,
    AnnotationRevision,
    Image,
    Label,
    LsTask,
    QueueEvent,
    QueueItem,
    Review,
    utcnow,
)
from sync.corrections.correct import keep_corrections
from sync.exchange.mirror import import_key
from sync.queue import move
from sync.review.derive import OPEN, DerivedLabel, Outcome, Revision, Verdict, derive
from sync.review.reading import Reading

MOST_ROUNDS = 3  # after so many it is for somebody to decide
AGAIN = 1.0  # priority of an image on which annotators did not agree
PORTION = 200  # images settled at once
ANEW = {"populate_existing": True}

Row = TypeVar("Row")


def settle(session: Session, project_id: int, reading: Reading, image_ids: Collection[int], seen: Collection[str] = ()) -> None:
    """Derive the labels of these images anew and move their queue items where they say; `seen` are keys of tasks that are there now."""
    ids = sorted(image_ids)
    for start in range(0, len(ids), PORTION):
        _settle(session, project_id, reading, ids[start : start + PORTION], frozenset(seen))


def outcomes(session: Session, project_id: int, reading: Reading, image_ids: Sequence[int]) -> dict[int, Outcome]:
    """What the mirror says of these images; nothing is changed. Read anew, whatever the session knows of it from before it waited for them."""
    tasks = _tasks(session, project_id, image_ids)
    images = {image.id: image for image in session.scalars(select(Image).where(Image.id.in_(image_ids)).execution_options(**ANEW))}
    key_of = {row.key: row.queue_item.image_id for rows in tasks.values() for row in rows}
    key_of |= {import_key(image): image.id for image in images.values()}
    revisions, verdicts = _revisions(session, project_id, key_of), _verdicts(session, project_id, key_of)
    return {
        image_id: derive(revisions[image_id], verdicts[image_id], reading.policy, reading.tags, (image.width, image.height))
        for image_id, image in images.items()
    }


def _settle(session: Session, project_id: int, reading: Reading, ids: Sequence[int], seen: frozenset[str]) -> None:
    session.flush()
    # Of two at once the later waits here, and then sees what the earlier has written: it may not settle without it.
    session.execute(select(Image.id).where(Image.id.in_(ids)).order_by(Image.id).with_for_update())
    found = outcomes(session, project_id, reading, ids)
    write_labels(session, project_id, {image_id: outcome.labels for image_id, outcome in found.items()})
    keep_corrections(session, project_id, ids, reading.tags)
    for image_id, rows in _tasks(session, project_id, ids).items():
        for row in rows:
            _move(session, row, found[image_id], seen)
        _open_round(session, rows, found[image_id], reading)


def _move(session: Session, row: LsTask, outcome: Outcome, seen: frozenset[str]) -> None:
    """An item without a task stays where it is, until its task was seen, or what people said on it stands without one."""
    standing = outcome.standings.get(row.key, OPEN)
    if row.queue_item.status in ("pending", "expired") and row.key not in seen:
        return
    move(session, row.queue_item, standing.status, standing.who[:200], standing.why[:500])


def _open_round(session: Session, rows: Sequence[LsTask], outcome: Outcome, reading: Reading) -> None:
    """A disputed image goes to people again, before all others: as a new task, for nobody shall see what was drawn before."""
    newest = max((row.queue_item for row in rows), key=lambda item: item.round, default=None)
    key = next((row.key for row in rows if newest is not None and row.queue_item_id == newest.id), None)
    if newest is not None and key in outcome.disputed and newest.round < MOST_ROUNDS:
        open_round(session, newest, "disagreement", AGAIN, str(reading.policy), f"annotators of round {newest.round} do not agree")


def open_round(
    session: Session, item: QueueItem, reason: str, priority: float, who: str, why: str, scores: dict[str, Any] | None = None
) -> bool:
    """Let people look again at the image of an item: its next round, once however often it is asked for; whether it is new.

    The round has the item's scores, or its own. It is of no decision: no selection chose it, and no budget of one pays for it.
    """
    now = utcnow()
    row: dict[str, Any] = {name: getattr(item, name) for name in ("project_id", "image_id", "capture_id", "scores")}
    row |= {"round": item.round + 1, "status": "pending", "reason": reason, "priority": priority, "created_at": now, "updated_at": now}
    row |= {} if scores is None else {"scores": scores}
    mine = select(QueueItem.id).where(
        QueueItem.project_id == item.project_id, QueueItem.image_id == item.image_id, QueueItem.round == item.round + 1
    )
    if session.scalar(mine) is not None:
        return False
    insert_absent(session, QueueItem, [row])
    session.add(QueueEvent(queue_item_id=session.scalars(mine).one(), status="pending", who=who, why=why))
    return True


def write_labels(session: Session, project_id: int, derived: Mapping[int, Sequence[DerivedLabel]]) -> None:
    """Make the label rows of images, by their ids, equal to the derived ones. What a row says changes only when its reading does."""
    stored = _stored(session, list(derived))
    missing = [
        _new(project_id, image_id, label) for image_id, labels in derived.items() for label in labels if label.revision_id not in stored
    ]
    if missing:
        insert_absent(session, Label, missing)
        stored = _stored(session, list(derived))
    wanted: dict[int, DerivedLabel] = {label.revision_id: label for labels in derived.values() for label in labels}
    for revision_id, row in stored.items():
        for name, value in _values(wanted.get(revision_id), row, stored).items():
            if getattr(row, name) != value:
                setattr(row, name, value)
    session.flush()


def _stored(session: Session, image_ids: Sequence[int]) -> dict[int, Label]:
    rows = session.scalars(select(Label).where(Label.image_id.in_(image_ids)).order_by(Label.id))
    return {row.annotation_revision_id: row for row in rows}


def _values(label: DerivedLabel | None, row: Label, stored: Mapping[int, Label]) -> dict[str, Any]:
    if label is None:  # an earlier sight came later, and says the same: that one is the label
        return {"superseded_by": None, "withdrawn_at": row.withdrawn_at or utcnow()}
    successor = stored[label.superseded_by].id if label.superseded_by else None
    return {**_content(label), "superseded_by": successor, "withdrawn_at": label.withdrawn_at}


def _content(label: DerivedLabel) -> dict[str, Any]:
    names = ("annotator", "annotated_at", "boxes", "exclusions", "approved_at", "approved_by")
    return {name: getattr(label, name) for name in names}


def _new(project_id: int, image_id: int, label: DerivedLabel) -> dict[str, Any]:
    known = {"project_id": project_id, "image_id": image_id, "annotation_revision_id": label.revision_id, "created_at": utcnow()}
    return {**known, **_content(label)}


def _tasks(session: Session, project_id: int, image_ids: Sequence[int]) -> dict[int, list[LsTask]]:
    query = select(LsTask).join(LsTask.queue_item).where(LsTask.project_id == project_id, QueueItem.image_id.in_(image_ids))
    query = query.options(contains_eager(LsTask.queue_item)).order_by(LsTask.id)
    rows = session.scalars(query.execution_options(**ANEW))
    return _grouped((row.queue_item.image_id, row) for row in rows)


def _revisions(session: Session, project_id: int, image_of: Mapping[str, int]) -> dict[int, list[Revision]]:
    query = select(AnnotationRevision).where(AnnotationRevision.project_id == project_id, AnnotationRevision.key.in_(list(image_of)))
    return _grouped((image_of[row.key], as_revision(row)) for row in session.scalars(query.execution_options(**ANEW)))


def _verdicts(session: Session, project_id: int, image_of: Mapping[str, int]) -> dict[int, list[Verdict]]:
    query = select(Review).where(Review.project_id == project_id, Review.key.in_(list(image_of)))
    return _grouped((image_of[row.key], as_verdict(row)) for row in session.scalars(query))


def _grouped(pairs: Iterable[tuple[int, Row]]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for image_id, row in pairs:
        found[image_id].append(row)
    return found


def as_revision(row: AnnotationRevision) -> Revision:
    """A row of the mirror, as labels are derived from it."""
    body = row.body
    return Revision(
        row.id,
        row.unique_id,
        row.updated_at,
        row.annotator,
        row.was_cancelled,
        row.deleted_at,
        body.get("result") or [],
        row.unique_id.startswith(IMPORTED),
        row.key,
        bool(body.get("ground_truth")),
    )


def as_verdict(row: Review) -> Verdict:
    """A row of what was said of an annotation, as labels are derived from it."""
    return Verdict(row.id, row.unique_id, row.annotation_updated_at, row.verdict, row.who, row.why, row.at)


def mark_deleted(session: Session, project_id: int, reading: Reading, rows: Sequence[LsTask], why: str = "") -> None:
    """Tasks that Label Studio no longer has: their annotations are gone, their items expire. Their images are locked (`locked_tasks`)."""
    keys = [row.key for row in rows]
    gone = select(AnnotationRevision).where(AnnotationRevision.project_id == project_id, AnnotationRevision.key.in_(keys))
    for entry in session.scalars(gone.where(AnnotationRevision.deleted_at.is_(None), AnnotationRevision.lost_at.is_(None))):
        entry.deleted_at = utcnow()
    for row in rows:
        move(session, row.queue_item, "expired", "pull", why or "the task was deleted in Label Studio")
    settle(session, project_id, reading, {row.queue_item.image_id for row in rows})
