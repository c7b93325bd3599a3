"""The labelling queue: what a person shall look at, where each item stands, and who moved it there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session, joinedload

from labelwheel.database.tables import QueueEvent, QueueItem, utcnow


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
    session: Session, project_id: int, limit: int = 50, status: str | None = None, reason: str | None = None
) -> list[dict[str, Any]]:
    """Items of a project, most urgent first, as JSON-ready rows."""
    query = select(QueueItem).where(QueueItem.project_id == project_id).options(joinedload(QueueItem.capture), joinedload(QueueItem.image))
    if status:
        query = query.where(QueueItem.status == status)
    if reason:
        query = query.where(QueueItem.reason == reason)
    rows = session.scalars(query.order_by(QueueItem.priority.desc(), QueueItem.id).limit(limit))
    return [_as_row(item) for item in rows]


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
