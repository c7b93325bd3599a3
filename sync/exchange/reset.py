"""A Label Studio that lost what it knew: restored from a backup, reset, or emptied at one stroke.

Nothing of it is believed by itself. The pull stops and says so (a row in `pause`), every label stays, and a person decides:
`labelwheel connect --accept-reset keep` keeps the labels and sends open tasks anew, `withdraw` takes Label Studio at its word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import IMPORTED, AnnotationRevision, LsTask, Pause, Project, utcnow
from labelwheel.errors import LabelStudioError, LabelStudioUnreachable, WentBack
from labelwheel.labelstudio.client import Project as There
from labelwheel.labelstudio.port import Studio
from sync.exchange.mirror import locked_tasks
from sync.review.reading import Reading
from sync.review.settle import settle

log = structlog.get_logger(__name__)

PULL = "pull"
FEWEST = 10  # annotations, or open tasks; people do delete some at once
_PEOPLES = ~AnnotationRevision.unique_id.startswith(IMPORTED)

Answer = Literal["keep", "withdraw"]


@dataclass
class Watch:
    """Counts the annotations, or the open tasks, that vanish in one pull; more than the share at once is no work of annotators. `off`: somebody
    has accepted it."""

    standing: int
    share: float
    off: bool = False
    what: str = "annotations"
    _gone: set[str] = field(default_factory=set)

    @property
    def bound(self) -> int:
        """So many may vanish."""
        return max(FEWEST, int(self.standing * self.share))

    def count(self, names: set[str]) -> None:
        """Unique ids of annotations, or keys of tasks. Raises WentBack when these are too many."""
        self._gone |= names
        if len(self._gone) > self.bound and not self.off:
            raise WentBack(f"{len(self._gone)} of {self.standing} {self.what} are gone from Label Studio at once.")


def standing(session: Session, project_id: int) -> int:
    """How many annotations of people stand in Label Studio, as far as we have seen."""
    mine = AnnotationRevision.project_id == project_id, _PEOPLES
    query = select(func.count(AnnotationRevision.unique_id.distinct())).where(*mine, AnnotationRevision.deleted_at.is_(None))
    return session.scalar(query.where(AnnotationRevision.lost_at.is_(None))) or 0


def look(client: Studio, row: Project) -> There:
    """The project in Label Studio, if it is still the one that we know. Raises WentBack."""
    try:
        there = client.project(row.ls_project_id)
    except LabelStudioUnreachable:
        raise
    except LabelStudioError:
        if client.fetch_status(f"api/projects/{row.ls_project_id}/") != 404:
            raise
        message = f"Project {row.ls_project_id} ({row.title!r}) is gone from Label Studio, or our token's user no longer sees it."
        raise WentBack(message) from None
    refuse_other(row, there)
    return there


def refuse_other(row: Project, there: There) -> None:
    """Raises WentBack when this is another project than the one that we know, even under the same id."""
    if there.id != row.ls_project_id or row.ls_created_at not in (None, there.created_at):
        known = f" of {row.ls_created_at:%Y-%m-%d %H:%M}" if row.ls_created_at else ""
        message = (
            f"Label Studio's project {there.title!r} is another one: {there.id} of {there.created_at:%Y-%m-%d %H:%M} UTC, "
            f"where we know {row.ls_project_id}{known}."
        )
        raise WentBack(message)


def held(session: Session, project_id: int) -> Pause | None:
    """Why nothing is pulled, until a person decides; None while all is well."""
    return session.scalar(select(Pause).where(Pause.project_id == project_id, Pause.what == PULL))


def stop(database: Database, project_id: int, why: str, since: datetime) -> None:
    """Hold the pull. `since` is when it began: what it marked as deleted before it noticed is brought back by `keep`."""
    with database.write() as session:
        insert_absent(session, Pause, [{"project_id": project_id, "what": PULL, "who": "pull", "why": why[:500], "since": since}])
    log.error("pull stopped until somebody decides", why=why)


def accept(session: Session, row: Project, there: There, answer: Answer, reading: Reading) -> None:
    """Take this project for ours as it is now, and let the next pull look at all of it. May run twice, and be killed after."""
    pause = held(session, row.id)
    row.ls_project_id, row.ls_created_at, row.pull_cursor = there.id, there.created_at, None
    if answer == "keep":
        if pause is not None:
            _revive(session, row.id, reading, pause.since)
        _lose_all(session, row.id)
    if pause is not None:
        session.delete(pause)


def _revive(session: Session, project_id: int, reading: Reading, since: datetime) -> None:
    """What was taken for deleted in the pull that gave the alarm."""
    gone = (AnnotationRevision.project_id == project_id, _PEOPLES, AnnotationRevision.deleted_at >= since)
    keys = set(session.scalars(select(AnnotationRevision.key).where(*gone)))
    rows = session.scalars(locked_tasks().where(LsTask.project_id == project_id, LsTask.key.in_(keys)))
    images = {row.key: row.queue_item.image_id for row in rows if row.queue_item.image.erased_at is None}
    for entry in session.scalars(select(AnnotationRevision).where(*gone, AnnotationRevision.key.in_(images))):
        entry.deleted_at, entry.lost_at = None, utcnow()
    settle(session, project_id, reading, set(images.values()))


def _lose_all(session: Session, project_id: int) -> None:
    """Nothing is known to be in Label Studio until it is seen there; what people said counts meanwhile."""
    mine = update(AnnotationRevision).where(AnnotationRevision.project_id == project_id, _PEOPLES)
    session.execute(mine.where(AnnotationRevision.deleted_at.is_(None), AnnotationRevision.lost_at.is_(None)).values(lost_at=utcnow()))
    session.execute(update(LsTask).where(LsTask.project_id == project_id).values(ls_task_id=0, ls_updated_at=None))
