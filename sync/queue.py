"""The labelling queue: what a person shall look at, where each item stands, and who moved it there."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased, joinedload

from labelwheel.database.tables import (
    QUEUE_STATUSES,
    REASONS,
    AnnotationRevision,
    Capture,
    Label,
    LsTask,
    QueueEvent,
    QueueItem,
    Review,
    utcnow,
)
from labelwheel.errors import InputError, NotFoundError
from sync.exchange.task import task_key

OPEN, ALL = "open", "all"
WAITING = ("pending", "pushed", "labeled")  # for somebody; the other statuses are ends
SHOWN = (OPEN, ALL, *QUEUE_STATUSES)


def move(session: Session, item: QueueItem, status: str, who: str, why: str) -> None:
    """Bring an item to a status and record who did it and why; where it stands already, nothing is recorded."""
    if item.status == status:
        return
    item.status, item.updated_at = status, utcnow()
    session.add(QueueEvent(queue_item_id=item.id, status=status, who=who, why=why))


def move_all(session: Session, item_ids: Sequence[int], before: str, status: str, who: str, why: str) -> None:
    """`move` for many items that stand at `before`; those that somebody has moved meanwhile stay where they are."""
    now = utcnow()
    standing = update(QueueItem).where(QueueItem.id.in_(item_ids), QueueItem.status == before)
    moved = list(session.scalars(standing.values(status=status, updated_at=now).returning(QueueItem.id)))
    if moved:
        session.execute(
            insert(QueueEvent), [{"queue_item_id": item, "status": status, "who": who, "why": why, "at": now} for item in moved]
        )


def set_aside(session: Session, item: QueueItem, who: str, why: str) -> None:
    """Leave a pending item waiting that cannot be pushed as it is, so that it does not hold up the others; `take_up` ends that."""
    item.fault, item.updated_at = why[:500], utcnow()
    session.add(QueueEvent(queue_item_id=item.id, status=item.status, who=who, why=f"set aside: {why}"[:500]))


def take_up(session: Session, project_id: int) -> int:
    """Let the items that were set aside be pushed once more; return how many that are."""
    waiting = update(QueueItem).where(QueueItem.project_id == project_id, QueueItem.fault.is_not(None)).values(fault=None)
    return int(session.execute(waiting).rowcount)  # type: ignore[attr-defined]


def listing(
    session: Session,
    project_id: int,
    limit: int = 50,
    status: str = OPEN,
    reason: str | None = None,
    source: str | None = None,
    after: str | None = None,
) -> list[dict[str, Any]]:
    """Items of a project, most urgent first, as JSON-ready rows. `status` is one of SHOWN: "open" is what waits for somebody.

    `after` is `cursor_of` the row that the page before ended with. Raises InputError for a status or reason that is none.
    """
    query = select(QueueItem).where(QueueItem.project_id == project_id, *_fitting(status, reason))
    query = query.options(joinedload(QueueItem.capture), joinedload(QueueItem.image))
    if source:
        query = query.join(Capture, Capture.id == QueueItem.capture_id).where(Capture.source == source)
    if after:
        priority, item_id = read_cursor(after)
        later = and_(QueueItem.priority == priority, QueueItem.id > item_id)
        query = query.where(or_(QueueItem.priority < priority, later))
    rows = session.scalars(query.order_by(QueueItem.priority.desc(), QueueItem.id).limit(limit))
    return [_as_row(item) for item in rows]


def _fitting(status: str, reason: str | None) -> list[ColumnElement[bool]]:
    if status not in SHOWN:
        raise InputError(f"{status!r} is no status.", f"Say one of {', '.join(SHOWN)}.")
    if reason is not None and reason not in REASONS:
        raise InputError(f"{reason!r} is no reason.", f"Say one of {', '.join(REASONS)}.")
    wanted = {OPEN: WAITING, ALL: ()}.get(status, (status,))
    return [*([QueueItem.status.in_(wanted)] if wanted else []), *([QueueItem.reason == reason] if reason else [])]


def cursor_of(row: dict[str, Any]) -> str:
    """Where the page after this row begins."""
    return f"{row['priority']!r}_{row['id']}"


def read_cursor(cursor: str) -> tuple[float, int]:
    """Priority and id of the row that a page ended with: the inverse of `cursor_of`. Raises InputError for what no page gave."""
    priority, _, item_id = cursor.partition("_")
    try:
        found = float(priority), int(item_id)
    except ValueError as error:
        raise InputError(f"{cursor[:40]!r} is no cursor.", "Give `next` of the page before.") from error
    if not isfinite(found[0]) or not 0 <= found[1] < 2**31:
        raise InputError(f"{cursor[:40]!r} is no cursor.", "Give `next` of the page before.")
    return found


def find(session: Session, project_id: int, item_id: int) -> QueueItem:
    """The item, with its image and capture. Raises NotFoundError."""
    query = select(QueueItem).where(QueueItem.project_id == project_id, QueueItem.id == item_id)
    known = query.options(joinedload(QueueItem.capture), joinedload(QueueItem.image))
    item = session.scalar(known) if 0 < item_id < 2**31 else None
    if item is None:
        raise NotFoundError(f"There is no queue item {item_id}.", "See `labelwheel queue` or GET /api/labeling-queue.")
    return item


def show(session: Session, project_id: int, item_id: int) -> dict[str, Any]:
    """An item as JSON: its row, where it has been and who moved it there, its standing labels, and verdicts; both in the order of time.

    A label that took another's place is in the history, too, as `replaced`. Raises NotFoundError.
    """
    item = find(session, project_id, item_id)
    task = session.scalar(select(LsTask).where(LsTask.queue_item_id == item.id).order_by(LsTask.id.desc()).limit(1))
    return {
        **_as_row(item),
        "width": item.image.width,
        "height": item.image.height,
        "task": task.ls_task_id if task else None,
        "history": _history(session, item),
        "reviews": [_review(*row) for row in session.execute(_reviews(project_id, task.key if task else task_key(item)))],
        "labels": [_label(label) for label in session.scalars(_labels(item))],
    }


def _history(session: Session, item: QueueItem) -> list[dict[str, Any]]:
    events = session.scalars(select(QueueEvent).where(QueueEvent.queue_item_id == item.id).order_by(QueueEvent.id))
    replaced = session.execute(_replaced(item))
    found = [
        *((event.at, _event(event)) for event in events),
        *((after.annotated_at, _replacement(before, after)) for before, after in replaced),
    ]
    return [entry for _, entry in sorted(found, key=lambda pair: pair[0])]


def _replaced(item: QueueItem) -> Select[Label, Label]:
    """Labels of the image that another one superseded, and that one."""
    after = aliased(Label)
    pairs = select(Label, after).join(after, after.id == Label.superseded_by)
    return pairs.where(Label.project_id == item.project_id, Label.image_id == item.image_id).order_by(after.annotated_at, Label.id)


def _replacement(before: Label, after: Label) -> dict[str, Any]:
    whose = "their own label" if before.annotator == after.annotator else f"the label of {before.annotator}"
    at = after.annotated_at.isoformat()
    return {"status": "replaced", "who": after.annotator, "why": f"replaced {whose} of {before.annotated_at:%Y-%m-%d %H:%M} UTC", "at": at}


def _reviews(project_id: int, key: str) -> Select[Review, bool]:
    """Verdicts, and whether what they were said of is a skip."""
    of = and_(
        AnnotationRevision.project_id == Review.project_id,
        AnnotationRevision.unique_id == Review.unique_id,
        AnnotationRevision.updated_at == Review.annotation_updated_at,
    )
    query = select(Review, AnnotationRevision.was_cancelled).join(AnnotationRevision, of, isouter=True)
    return query.where(Review.project_id == project_id, Review.key == key).order_by(Review.id)


def _labels(item: QueueItem) -> Select[Label]:
    """Those of the image that nothing has superseded or withdrawn, also from other rounds."""
    standing = (Label.superseded_by.is_(None), Label.withdrawn_at.is_(None))
    return select(Label).where(Label.project_id == item.project_id, Label.image_id == item.image_id, *standing).order_by(Label.id)


def _event(event: QueueEvent) -> dict[str, Any]:
    return {"status": event.status, "who": event.who, "why": event.why, "at": event.at.isoformat()}


def _review(review: Review, skipped: bool | None) -> dict[str, Any]:
    verdict = "skipped" if skipped and review.verdict == "submitted" else review.verdict
    return {"verdict": verdict, "annotation": review.unique_id, "who": review.who, "why": review.why, "at": review.at.isoformat()}


def _label(label: Label) -> dict[str, Any]:
    return {
        "id": label.id,
        "boxes": label.boxes,
        "exclusions": label.exclusions,
        "annotator": label.annotator,
        "annotated_at": label.annotated_at.isoformat(),
        "approved_at": label.approved_at.isoformat() if label.approved_at else None,
        "approved_by": label.approved_by,
    }


def stats(session: Session, project_id: int) -> dict[str, Any]:
    """Counts by status, and by reason and status."""
    query = select(QueueItem.reason, QueueItem.status, func.count()).where(QueueItem.project_id == project_id)
    by_status: dict[str, int] = {}
    by_reason: dict[str, dict[str, int]] = {}
    for reason, status, count in session.execute(query.group_by(QueueItem.reason, QueueItem.status)):
        by_status[status] = by_status.get(status, 0) + count
        by_reason.setdefault(reason, {})[status] = count
    return {"total": sum(by_status.values()), "by_status": by_status, "by_reason": by_reason}


def _as_row(item: QueueItem) -> dict[str, Any]:
    return {
        "id": item.id,
        "status": item.status,
        "reason": item.reason,
        "priority": item.priority,
        "scores": item.scores,
        "round": item.round,
        "fault": item.fault,
        "source": item.capture.source,
        "external_id": item.capture.external_id,
        "captured_at": item.capture.captured_at.isoformat(),
        "image": item.image.sha256,
        "created_at": item.created_at.isoformat(),
        "updated_at": item.updated_at.isoformat(),
    }
