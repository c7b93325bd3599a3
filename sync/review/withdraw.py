"""Take what one annotator said out, as it stands now; a later edit of it, or another annotation, counts. It can be undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from labelwheel.database import Database
from labelwheel.database.tables import AnnotationRevision, Label, Project, QueueItem, Review
from sync.review.reading import Reading
from sync.review.settle import open_round, settle
from sync.review.used import Used, used_labels
from sync.review.verdict import add

PORTION = 200


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Labels that were taken out or brought back, of how many images, and what had used them."""

    annotator: str
    labels: list[int]
    images: int
    used: Used

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def withdraw(
    database: Database, project: Project, reading: Reading, annotator: str, since: datetime | None, who: str, why: str, *, dry_run: bool,
    again: bool = False,
) -> Withdrawal:  # fmt: skip
    """Withdraw every standing label of an annotator, or those drawn from `since` on. Again changes nothing.

    `again` sends the images that are left without a label out in a new round, of reason `disagreement`.
    """
    query = _labels(project.id, annotator, since).where(Label.withdrawn_at.is_(None))
    done = _say(database, project, reading, query, annotator, "withdrawn", who, why, dry_run)
    if again and not dry_run:
        _send_again(database, project, annotator, since, who, why)
    return done


def reinstate(
    database: Database, project: Project, reading: Reading, annotator: str, since: datetime | None, who: str, why: str, *, dry_run: bool
) -> Withdrawal:
    """Bring back what was withdrawn of an annotator. What is gone from Label Studio, or was skipped since, stays out."""
    out = select(Review.unique_id).where(Review.project_id == project.id, Review.verdict == "withdrawn")
    query = _labels(project.id, annotator, since).where(Label.withdrawn_at.is_not(None), AnnotationRevision.unique_id.in_(out))
    query = query.where(AnnotationRevision.deleted_at.is_(None))
    return _say(database, project, reading, query, annotator, "reinstated", who, why, dry_run)


def _send_again(database: Database, project: Project, annotator: str, since: datetime | None, who: str, why: str) -> None:
    """By what is withdrawn already, so that a withdrawal that was killed half-way is made good."""
    counts = Label.withdrawn_at.is_(None) & Label.superseded_by.is_(None)
    labelled = select(Label.image_id).where(Label.project_id == project.id, counts)
    out = select(Label.image_id).where(Label.project_id == project.id, Label.annotator == annotator, Label.withdrawn_at.is_not(None))
    out = out if since is None else out.where(Label.annotated_at >= since)
    with database.read() as session:
        images = sorted(set(session.scalars(out)) - set(session.scalars(labelled)))
    for start in range(0, len(images), PORTION):
        with database.write() as session:
            mine = select(QueueItem).where(QueueItem.project_id == project.id, QueueItem.image_id.in_(images[start : start + PORTION]))
            newest = {item.image_id: item for item in session.scalars(mine.order_by(QueueItem.round))}
            for item in newest.values():
                if item.status == "rejected":  # an open one waits for people already
                    open_round(session, item, "disagreement", item.priority, who, why)  # no second look: of these an image has one, ever


def _labels(project_id: int, annotator: str, since: datetime | None) -> Select[int, int, str]:
    query = select(Label.id, Label.image_id, AnnotationRevision.unique_id)
    query = query.join(AnnotationRevision, AnnotationRevision.id == Label.annotation_revision_id)
    query = query.where(Label.project_id == project_id, Label.annotator == annotator).order_by(Label.id)
    return query if since is None else query.where(Label.annotated_at >= since)


def _say(
    database: Database, project: Project, reading: Reading, query: Select[int, int, str], annotator: str, verdict: str, who: str,
    why: str, dry_run: bool,
) -> Withdrawal:  # fmt: skip
    with database.read() as session:
        rows = _as_they_stand(session, project.id, list(session.execute(query).tuples()))
        used = used_labels(session, project.id, [label_id for label_id, _, _ in rows])
    for start in range(0, 0 if dry_run else len(rows), PORTION):
        some = rows[start : start + PORTION]
        with database.write() as session:
            for revision in _standing(session, project.id, sorted({unique_id for _, _, unique_id in some})):
                add(session, revision, verdict, who, why)
            settle(session, project.id, reading, {image_id for _, image_id, _ in some})
    return Withdrawal(annotator, [label_id for label_id, _, _ in rows], len({image_id for _, image_id, _ in rows}), used)


def _as_they_stand(session: Session, project_id: int, rows: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Those labels that are the last word of their annotation: what somebody else has edited since is not this annotator's."""
    last: dict[str, int] = {}
    for start in range(0, len(rows), PORTION):
        query = select(AnnotationRevision.unique_id, Label.id).join(Label, Label.annotation_revision_id == AnnotationRevision.id)
        mine = AnnotationRevision.unique_id.in_({unique_id for _, _, unique_id in rows[start : start + PORTION]})
        query = query.where(Label.project_id == project_id, mine).order_by(Label.annotated_at, AnnotationRevision.id)
        last.update(dict(session.execute(query).tuples().all()))
    return [row for row in rows if last[row[2]] == row[0]]


def _standing(session: Session, project_id: int, unique_ids: Sequence[str]) -> list[AnnotationRevision]:
    """These annotations, as they stand."""
    query = select(AnnotationRevision).where(AnnotationRevision.project_id == project_id, AnnotationRevision.unique_id.in_(unique_ids))
    newest: dict[str, AnnotationRevision] = {}
    for row in session.scalars(
        query.where(AnnotationRevision.deleted_at.is_(None)).order_by(AnnotationRevision.updated_at, AnnotationRevision.id)
    ):
        newest[row.unique_id] = row
    return list(newest.values())
