"""What is compared with what: a source's first captures are its reference, its latest ones the window.

Each source has a reference of its own: frames of two lines differ more than a failing lamp does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from labelwheel.database.tables import Capture

FEATURES = ("brightness",)  # names in Capture.features that are tested; one more name here is all that a new test needs


@dataclass(frozen=True, slots=True)
class Sample:
    """One capture as drift sees it."""

    capture_id: int
    captured_at: datetime
    features: dict[str, Any]

    @property
    def order(self) -> tuple[datetime, int]:
        """Captures of one instant stand in the order in which they were received."""
        return self.captured_at, self.capture_id


@dataclass(frozen=True, slots=True)
class Windows:
    """Reference and window of one source, both in order of capture; no capture stands in both."""

    reference: tuple[Sample, ...]
    window: tuple[Sample, ...]

    @property
    def last_capture_id(self) -> int:
        """The capture that names this window: a window is tested once."""
        return self.window[-1].capture_id

    def fresh_since(self, capture_id: int) -> int:
        """Captures of the window that are newer than `capture_id`; all of them when it has left the window."""
        ids = [sample.capture_id for sample in self.window]
        return len(ids) - 1 - ids.index(capture_id) if capture_id in ids else len(ids)


def cut(earliest: Sequence[Sample], latest: Sequence[Sample], reference: int, window: int) -> Windows | None:
    """The first `reference` and the last `window` captures of a source; None while they are too few or overlap."""
    first = tuple(sorted(earliest, key=lambda sample: sample.order)[:reference])
    last = tuple(sorted(latest, key=lambda sample: sample.order)[-window:])
    if len(first) < reference or len(last) < window or last[0].order <= first[-1].order:
        return None
    return Windows(first, last)


def load(session: Session, project_id: int, source: str, reference: int, window: int) -> Windows | None:
    """The windows of a source as the database has them now; None while too few captures arrived."""
    query = select(Capture.id, Capture.captured_at, Capture.features).where(Capture.project_id == project_id, Capture.source == source)
    earliest = _samples(session, query.order_by(Capture.captured_at, Capture.id).limit(reference))
    latest = _samples(session, query.order_by(Capture.captured_at.desc(), Capture.id.desc()).limit(window))
    return cut(earliest, latest, reference, window)


def sources(session: Session, project_id: int) -> list[str]:
    """Names of the sources that sent anything, sorted."""
    return sorted(session.scalars(select(Capture.source).where(Capture.project_id == project_id).distinct()))


def values(samples: Sequence[Sample], feature: str) -> list[float]:
    """The finite values of a feature; captures without it are left out."""
    found = (sample.features.get(feature) for sample in samples)
    return [float(value) for value in found if isinstance(value, int | float) and isfinite(value)]


def _samples(session: Session, query: Select[int, datetime, dict[str, Any]]) -> list[Sample]:
    return [Sample(*row) for row in session.execute(query)]
