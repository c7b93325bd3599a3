"""Labels that came with a dataset, kept in the mirror: as annotations of `import:<name>` that stand on an image and belong to no task.

So a label stays what it always is, a function of the mirror, and the pull, which looks at tasks, never withdraws one of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import IMPORTED, AnnotationRevision, Image, Project, utcnow
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.drawn import to_drawn
from sync.exchange.mirror import import_key
from sync.review.reading import Reading
from sync.review.settle import settle


def mirror_imported(
    session: Session, project: Project, image: Image, reading: Reading, boxes: Sequence[LabelledBox], name: str, *, as_new: bool
) -> bool:
    """Mirror what the dataset `name` says of an image, boxes in pixels of the upright image, and derive its labels anew.

    False when the dataset said the same before: then nothing changes. What it says otherwise now supersedes what it said then.
    `as_new` lets the label count towards the next training. Raises InputError for a label that nobody can draw.
    """
    body = {"result": to_drawn(boxes, reading.tags, image.width, image.height, IMPORTED), "as_new": as_new}
    identity = IMPORTED + hashlib.sha256(f"{image.sha256}/{name}".encode()).hexdigest()[:32]
    mine = select(AnnotationRevision).where(AnnotationRevision.project_id == project.id, AnnotationRevision.unique_id == identity)
    newest = session.scalar(mine.order_by(AnnotationRevision.updated_at.desc(), AnnotationRevision.id.desc()).limit(1))
    if newest is not None and newest.body == body:
        return False
    session.add(_revision(project, image, identity, name, body))
    session.flush()
    settle(session, project.id, reading, [image.id])
    return True


def _revision(project: Project, image: Image, identity: str, name: str, body: dict[str, Any]) -> AnnotationRevision:
    return AnnotationRevision(
        project_id=project.id,
        unique_id=identity,
        updated_at=utcnow(),
        key=import_key(image),
        ls_annotation_id=0,
        ls_task_id=0,
        annotator=f"{IMPORTED}{name}",
        was_cancelled=False,
        body=body,
    )
