"""What somebody says of an annotation: one more row of `review`, and what follows from it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import VERDICTS, AnnotationRevision, LsTask, Project, QueueItem, Review
from labelwheel.errors import InputError, NotFoundError
from sync.review.reading import Reading
from sync.review.settle import as_revision, settle
from sync.review.states import states

CURE = "Look it up with `labelwheel labels list`; what was submitted a moment ago is there after the next pull."


def give(session: Session, project: Project, reading: Reading, unique_id: str, verdict: str, who: str, why: str) -> None:
    """Say `verdict` (one of VERDICTS) of an annotation as the mirror shows it now, and settle its image.

    `submitted` names `who` as its author: that is how a label that our API wrote, with our token, is told from our own hand. Mirror it
    first, and give the verdict in the same transaction. Saying again what was said last changes nothing. Raises InputError, NotFoundError.
    """
    if verdict not in VERDICTS:
        raise InputError(f"{verdict!r} is no verdict.", f"Say one of {', '.join(VERDICTS)}.")
    revision = newest_revision(session, project.id, unique_id)
    if revision is None:
        raise NotFoundError(f"No annotation {unique_id!r} stands in the mirror.", CURE)
    add(session, revision, verdict, who, why)
    image = select(QueueItem.image_id).join(LsTask).where(LsTask.project_id == project.id, LsTask.key == revision.key)
    settle(session, project.id, reading, set(session.scalars(image)))


def newest_revision(session: Session, project_id: int, unique_id: str) -> AnnotationRevision | None:
    """An annotation as it stands."""
    query = select(AnnotationRevision).where(AnnotationRevision.project_id == project_id, AnnotationRevision.unique_id == unique_id)
    query = query.where(AnnotationRevision.deleted_at.is_(None))
    return session.scalar(query.order_by(AnnotationRevision.updated_at.desc(), AnnotationRevision.id.desc()).limit(1))


def add(session: Session, revision: AnnotationRevision, verdict: str, who: str, why: str) -> bool:
    """One more row, unless the last one of this state says the same. What follows from it is for `settle`."""
    said = select(Review).where(Review.project_id == revision.project_id, Review.unique_id == revision.unique_id)
    last = session.scalar(said.where(Review.annotation_updated_at.in_(_moments(session, revision))).order_by(Review.id.desc()).limit(1))
    if last is not None and (last.verdict, last.who, last.why) == (verdict, who, why):
        return False
    row = Review(
        project_id=revision.project_id,
        key=revision.key,
        unique_id=revision.unique_id,
        annotation_updated_at=revision.updated_at,
        verdict=verdict,
        who=who,
        why=why[:500],
    )
    session.add(row)
    session.flush()
    return True


def _moments(session: Session, revision: AnnotationRevision) -> list[datetime]:
    """`updated_at` of every revision of the state that this one belongs to: the star that followed a verdict made no other state."""
    query = select(AnnotationRevision).where(AnnotationRevision.project_id == revision.project_id)
    rows = session.scalars(query.where(AnnotationRevision.unique_id == revision.unique_id))
    found = states([as_revision(row) for row in rows], [])
    mine = next(state for state in found if any(one.id == revision.id for one in state.revisions))
    return [one.updated_at for one in mine.revisions]
