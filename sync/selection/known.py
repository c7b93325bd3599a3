"""What is queued or labelled already: near-duplicates of it stand back, and what lies far from it is new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from sqlalchemy import exists, or_, select

from labelwheel.database.tables import Capture, Image, Label, QueueItem
from sync.selection.candidate import Candidate
from sync.selection.novelty import Matrix, novelty
from sync.selection.pool import Pool, found_of, predictions, vector_of
from sync.selection.rank import lot
from sync.selection.score import Found
from sync.selection.similar import Known, Seen, Sight

KNOWN = 10_000  # the newest that near-duplicates are looked for among
LANDMARKS = 256
SLACK = 1.01  # products of matrices are a little less exact than `Seen`, which decides


class Neighbours:
    """The newest captures whose images are queued or labelled. What was seen in one is read when somebody looks like it."""

    def __init__(self, pool: Pool, distance: float) -> None:
        self._database, self._project_id, self._model_version_id = pool.database, pool.project_id, pool.model_version_id
        self._classes, self._distance = pool.classes, distance
        self._rows = self._read()
        self._seen: dict[int, tuple[tuple[Found, ...] | None, bool]] = {}

    def near(self, candidates: Iterable[Candidate]) -> list[Known]:
        """Those that look like one of these and come from its source, with what was seen in them."""
        wanted = list(candidates)
        sources = {candidate.source for candidate in wanted}
        rows = [row for source in sorted(sources) for row in self._near(source, [each for each in wanted if each.source == source])]
        self._look({row.image_id for row in rows})
        return [replace(row, detections=self._seen[row.image_id][0], drawn=self._seen[row.image_id][1]) for row in rows]

    def twins(self, candidates: Sequence[Candidate]) -> dict[int, Sight]:
        """The known twin of each that has one, by the capture's id."""
        seen = Seen(self._distance, self.near(candidates))
        found = ((candidate.capture_id, seen.twin(candidate)) for candidate in candidates)
        return {capture_id: twin for capture_id, twin in found if twin is not None}

    def landmarks(self, seed: int) -> list[int]:
        """Images drawn by lot that novelty is measured from."""
        ids = {row.image_id for row in self._rows}
        return sorted(ids, key=lambda image_id: (lot(seed, image_id), image_id))[:LANDMARKS]

    def space(self, landmarks: Sequence[int]) -> Space:
        """Where novelty is measured: in the model's embeddings, where it has looked at half of the landmarks, else in descriptors."""
        with self._database.read() as session:
            looked_at = predictions(session, landmarks, self._model_version_id)
        embedded = [seen.embedding for seen in looked_at.values() if seen.embedding is not None]
        if embedded and 2 * len(embedded) >= len(landmarks):
            return Space("embedding", np.stack(embedded))
        wanted = set(landmarks)
        described = {row.image_id: row.descriptor for row in self._rows if row.image_id in wanted and row.descriptor is not None}
        return Space("descriptor", np.stack(list(described.values())) if described else np.empty((0, 0), np.float32))

    def _read(self) -> list[Known]:
        queued = exists().where(
            QueueItem.project_id == self._project_id, QueueItem.image_id == Capture.image_id, QueueItem.status != "expired"
        )
        query = select(Capture.image_id, Capture.source, Capture.descriptor).join(Image, Image.id == Capture.image_id)
        query = query.where(Capture.project_id == self._project_id, or_(queued, self._labelled())).order_by(Capture.id.desc()).limit(KNOWN)
        with self._database.read() as session:
            return [Known(image_id, source, vector_of(stored)) for image_id, source, stored in session.execute(query).tuples()]

    def _labelled(self) -> Any:
        return exists().where(Label.project_id == self._project_id, Label.image_id == Capture.image_id, Label.withdrawn_at.is_(None))

    @cached_property
    def _by_source(self) -> dict[str, tuple[list[Known], Matrix]]:
        described: dict[str, list[Known]] = {}
        for row in self._rows:
            if row.descriptor is not None:
                described.setdefault(row.source, []).append(row)
        return {
            source: (rows, np.stack([row.descriptor for row in rows if row.descriptor is not None])) for source, rows in described.items()
        }

    def _near(self, source: str, candidates: Sequence[Candidate]) -> list[Known]:
        rows, vectors = self._by_source.get(source, ([], None))
        asked = [candidate.descriptor for candidate in candidates if candidate.descriptor is not None]
        if vectors is None or not asked or not self._distance:
            return []
        reached = np.zeros(len(rows), bool)
        for start in range(0, len(asked), 100):
            some = np.stack(asked[start : start + 100])
            squares = (some**2).sum(axis=1)[:, None] + (vectors**2).sum(axis=1) - 2 * some @ vectors.T
            reached |= (squares <= (SLACK * self._distance) ** 2 + 1e-6).any(axis=0)
        return [rows[index] for index in np.flatnonzero(reached)]

    def _look(self, image_ids: set[int]) -> None:
        """Read what the model saw in these; where it has not looked, what a person drew."""
        missing = image_ids - self._seen.keys()
        with self._database.read() as session:
            seen = predictions(session, missing, self._model_version_id, self._classes)
            blind = missing - seen.keys()
            standing = (Label.withdrawn_at.is_(None), Label.superseded_by.is_(None))
            query = select(Label.image_id, Label.boxes).where(Label.image_id.in_(blind), *standing).order_by(Label.id)
            drawn = {image_id: found_of(boxes, self._classes) for image_id, boxes in session.execute(query).tuples()} if blind else {}
        for image_id in missing:
            found = seen[image_id].found if image_id in seen else drawn.get(image_id)
            self._seen[image_id] = found, image_id in drawn


@dataclass(frozen=True, slots=True)
class Space:
    """Vectors of one kind, `embedding` or `descriptor`, that novelty is measured by."""

    kind: str
    landmarks: Matrix

    def measure(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates with their novelty, where it can be told."""
        able = [candidate for candidate in candidates if getattr(candidate, self.kind) is not None]
        far = novelty(np.stack([getattr(candidate, self.kind) for candidate in able]), self.landmarks) if able else None
        if far is None:
            return list(candidates)
        by_id = {candidate.capture_id: float(value) for candidate, value in zip(able, far, strict=True)}
        return [replace(candidate, novelty=by_id.get(candidate.capture_id)) for candidate in candidates]
