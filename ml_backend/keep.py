"""Keep an arrival: first the file, then the rows, then a look whether the file is still there.

A crash in between leaves at most a file that no row names, and retention finds it. The look at the end is the door's half of an
agreement with `ImageStore.discard`: the file may have been removed between our writing and our row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from sqlalchemy import exists, select
from sqlalchemy.orm import Session, joinedload

from labelwheel.database import Database
from labelwheel.database.insert import insert_absent, insert_new
from labelwheel.database.tables import Capture, Image, Project, utcnow
from labelwheel.draw import draw, inherit
from labelwheel.erased import refuse_erased
from labelwheel.errors import ConflictError
from labelwheel.twins import splits_of_twins
from labelwheel.vision import features, image
from ml_backend.pressure import DiskFull
from ml_backend.state import State


class Picture:
    """Bytes that came in; decoded at most once, and only when somebody needs the pixels."""

    def __init__(self, data: bytes, max_bytes: int, max_pixels: int) -> None:
        self.data, self._max_bytes, self._max_pixels = data, max_bytes, max_pixels

    @cached_property
    def sha256(self) -> str:
        return image.digest(self.data)

    @cached_property
    def pixels(self) -> image.Pixels:
        """Upright BGR, shape (H, W, 3). Raises ImageError."""
        return image.decode(self.data, max_bytes=self._max_bytes, max_pixels=self._max_pixels)


def keep(here: State, project: Project, said: dict[str, Any], picture: Picture) -> tuple[Capture, bool]:
    """The capture of these bytes under `said["external_id"]`, and whether it is new: of many at once, for exactly one.

    `said` are the columns that the camera fills. Raises ConflictError when the id is known with other bytes, BackpressureError while
    nothing new is taken, ErasedError for what somebody had erased, ImageError.
    """
    known = find(here.database, project.id, said["external_id"])
    _refuse_erased(here, project, known, picture)
    fresh = known is None and _store(here, project, said, picture)
    capture = known or find(here.database, project.id, said["external_id"])
    if capture is None or capture.image.sha256 != picture.sha256:
        raise conflict(said["external_id"])
    if capture.image.expired_at is None:
        _put(here, picture)
    return capture, fresh


def _refuse_erased(here: State, project: Project, known: Capture | None, picture: Picture) -> None:
    with here.database.read() as session:
        mine = select(Image).where(Image.project_id == project.id, Image.sha256 == picture.sha256)
        refuse_erased(known.image if known and known.image.sha256 == picture.sha256 else session.scalar(mine))


def find(database: Database, project_id: int, external_id: str) -> Capture | None:
    """The capture of this id, with its image."""
    query = select(Capture).where(Capture.project_id == project_id, Capture.external_id == external_id)
    with database.read() as session:
        return session.scalar(query.options(joinedload(Capture.image)))


def conflict(external_id: str) -> ConflictError:
    message = f"External id {external_id!r} is known with other bytes."
    return ConflictError(message, "Give every image an id of its own; resend an image with the very same bytes.")


def _store(here: State, project: Project, said: dict[str, Any], picture: Picture) -> bool:
    here.gauge.check()
    stored, capture = _rows(here, project, said, picture)
    stored["uri"] = _put(here, picture)
    try:
        with here.database.write() as session:
            return _insert(session, stored, capture)
    except ConflictError:  # the other one came in between: of this one nothing shall stay
        here.store.discard(stored["uri"], lambda uri: is_named(here.database, uri))
        raise


def _put(here: State, picture: Picture) -> str:
    with _full_disk():
        return here.store.put(picture.data, picture.sha256, image.sniff_suffix(picture.data))


@contextmanager
def _full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise DiskFull("The disk of the image store is full.", "Free some of it; see `labelwheel retention --dry-run`.") from error
        raise


def _rows(here: State, project: Project, said: dict[str, Any], picture: Picture) -> tuple[dict[str, Any], dict[str, Any]]:
    height, width = picture.pixels.shape[:2]
    drawn = draw(project.salt, picture.sha256, here.settings.audit_rate, here.settings.holdout_rate)
    mine = {"project_id": project.id, "sha256": picture.sha256}
    descriptor = features.descriptor(picture.pixels).astype(np.float32)
    stored = {**mine, "width": width, "height": height, "size": len(picture.data), "created_at": utcnow()}
    capture = {
        "project_id": project.id,
        **said,
        "received_at": utcnow(),
        "features": features.measure(picture.pixels),
        "descriptor": descriptor.tobytes(),
        "split": inherit(drawn.split, _twins(here, project, said, descriptor)),
        "audit": drawn.audit,
        "propensity": drawn.propensity,
    }
    return stored, capture


def _twins(here: State, project: Project, said: dict[str, Any], descriptor: features.Vector) -> set[str]:
    with here.database.read() as session:
        return splits_of_twins(session, project.id, said["source"], said["captured_at"], descriptor, here.settings.twin_seconds)


def _insert(session: Session, stored: dict[str, Any], capture: dict[str, Any]) -> bool:
    """Both rows or none. Bytes that had expired are there again."""
    insert_absent(session, Image, [stored])
    mine = select(Image).where(Image.project_id == stored["project_id"], Image.sha256 == stored["sha256"])
    row = session.scalars(mine.with_for_update()).one()  # a retention that judges this image waits, and then sees the capture
    refuse_erased(row)  # somebody may have had it erased since we looked
    row.expired_at = None
    session.flush()
    if insert_new(session, Capture, {**capture, "image_id": row.id}):
        return True
    other = select(Capture.image_id).where(Capture.project_id == capture["project_id"], Capture.external_id == capture["external_id"])
    if session.scalar(other) != row.id:
        raise conflict(capture["external_id"])
    return False


def is_named(database: Database, uri: str) -> bool:
    """Whether a row says that bytes lie under this uri, in whichever project."""
    by_key = (Image.project_id.in_(select(Project.id)), Image.sha256 == PurePosixPath(uri).stem)  # the uri itself has no index
    with database.read() as session:
        return bool(session.scalar(select(exists().where(*by_key, Image.uri == uri, Image.expired_at.is_(None)))))
