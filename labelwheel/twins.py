"""Twins at arrival: images that one source took within moments of each other and that look the same, without asking any model.

They share a split, by whichever way they come: from a camera, with a dataset, or with a task that somebody made. Else a training would
see what the holdout is to judge by.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import Capture
from labelwheel.vision.features import DESCRIPTOR_SIZE, Vector

DISTANCE = 0.02  # between descriptors: below what a sensor's noise or another part moves them by, above what a still scene does
MOST = 500  # captures that are compared


def splits_of_twins(session: Session, project_id: int, source: str, captured_at: datetime, descriptor: Vector, seconds: float) -> set[str]:
    """Splits of the captures of the source that were taken at most so many seconds before or after, and look the same.

    Of more than `MOST` those that arrived last: of a folder, or of an upload that has one moment for all, the neighbours. 0 seconds: none.
    """
    if not seconds:
        return set()
    query = select(Capture.split, Capture.descriptor).where(Capture.project_id == project_id, Capture.source == source)
    query = query.where(Capture.captured_at.between(*_around(captured_at, timedelta(seconds=seconds))), Capture.descriptor.is_not(None))
    rows = session.execute(query.order_by(Capture.id.desc()).limit(MOST)).tuples().all()
    if not rows:
        return set()
    others = np.frombuffer(b"".join(vector or b"" for _, vector in rows), np.float32).reshape(-1, DESCRIPTOR_SIZE)
    near = np.linalg.norm(others - descriptor, axis=1) <= DISTANCE
    return {split for (split, _), twin in zip(rows, near, strict=True) if twin}


def _around(moment: datetime, window: timedelta) -> tuple[datetime, datetime]:
    """The window around a moment, within the calendar: a clock that was never set says that it is the year 1."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    return moment - min(window, moment - first), moment + min(window, last - moment)
