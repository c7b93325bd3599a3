"""Labels anew from the mirror: what a rebuild changes was wrong, unless the reading has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from labelwheel.database import Database
from labelwheel.database.tables import AnnotationRevision, Image, Label, LsTask, QueueItem
from sync.exchange.mirror import IMPORT_KEY
from sync.review.reading import Reading, applied
from sync.review.settle import PORTION, settle

COLUMNS = (
    Label.annotation_revision_id, Label.image_id, Label.boxes, Label.exclusions, Label.annotator, Label.annotated_at, Label.approved_at,
    Label.approved_by, Label.superseded_by, Label.withdrawn_at,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How many images and labels were looked at, and of which images (SHA-256) the labels were not what follows from the mirror."""

    images: int
    labels: int
    differing: list[str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def rebuild(
    database: Database, project_id: int, reading: Reading, *, check: bool = False, beat: Callable[[], object] = lambda: None
) -> Rebuilt:
    """Derive the labels of every image anew; with `check` only look what would change. `beat` is called before each portion."""
    images, labels, differing = 0, 0, list[str]()
    after = 0
    while portion := _portion(database, project_id, after):
        beat()
        with database.write() as session:
            before = _rows(session, list(portion))
            settle(session, project_id, reading, portion)
            rows = _rows(session, list(portion))
            if check:
                session.rollback()
        images, labels, after = images + len(portion), labels + sum(map(len, rows.values())), max(portion)
        differing += [sha256 for image_id, sha256 in portion.items() if before.get(image_id) != rows.get(image_id)]
    if not check:
        with database.write() as session:
            session.add(applied(project_id, reading, images))
    return Rebuilt(images, labels, differing)


def _portion(database: Database, project_id: int, after: int) -> dict[int, str]:
    """SHA-256 by id of the next images of which somebody has said something, or that have labels."""
    spoken = select(QueueItem.image_id).join(LsTask).join(AnnotationRevision, _same_task()).where(LsTask.project_id == project_id)
    labelled = select(Label.image_id).where(Label.project_id == project_id)
    brought = exists().where(
        AnnotationRevision.project_id == project_id, AnnotationRevision.key == func.substr(Image.sha256, 1, 32).concat(IMPORT_KEY)
    )
    query = select(Image.id, Image.sha256).where(Image.project_id == project_id, Image.id > after)
    query = query.where(Image.id.in_(spoken) | Image.id.in_(labelled) | brought).order_by(Image.id).limit(PORTION)
    with database.read() as session:
        return dict(session.execute(query).tuples().all())


def _same_task() -> Any:
    return (AnnotationRevision.project_id == LsTask.project_id) & (AnnotationRevision.key == LsTask.key)


def _rows(session: Session, image_ids: list[int]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in session.execute(select(*COLUMNS).where(Label.image_id.in_(image_ids)).order_by(Label.annotation_revision_id)):
        found.setdefault(row.image_id, []).append(tuple(row))
    return found
