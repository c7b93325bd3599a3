"""Whose an annotation is that came through a door of ours: in Label Studio all of them are our own user's."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import AnnotationRevision, Answer
from sync.exchange.mirror import Change
from sync.review.verdict import add


def name_authors(session: Session, project_id: int, change: Change) -> None:
    """Record the author of each answer of ours that is seen for the first time, whoever wrote it down has been killed meanwhile or not.

    Later states of the annotation are of whoever changed it. Settle afterwards, in the same transaction.
    """
    fresh = [revision for seen in change.seen for revision in seen.fresh if revision.body.get("import_id")]
    for answer, revision in _answered(session, project_id, fresh):
        if _is_first(session, revision):
            add(session, revision, "submitted", answer.who, answer.why)


def _answered(session: Session, project_id: int, fresh: Sequence[AnnotationRevision]) -> list[tuple[Answer, AnnotationRevision]]:
    if not fresh:
        return []
    query = select(Answer).where(Answer.project_id == project_id, Answer.key.in_({revision.key for revision in fresh}))
    known = {(answer.key, answer.digest): answer for answer in session.scalars(query)}
    pairs = ((known.get((revision.key, revision.body["import_id"])), revision) for revision in fresh)
    return [(answer, revision) for answer, revision in pairs if answer]


def _is_first(session: Session, revision: AnnotationRevision) -> bool:
    mine = select(AnnotationRevision.id).where(AnnotationRevision.project_id == revision.project_id)
    mine = mine.where(AnnotationRevision.unique_id == revision.unique_id, AnnotationRevision.updated_at < revision.updated_at)
    return session.scalar(mine.limit(1)) is None
