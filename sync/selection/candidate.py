"""What selection speaks of: a capture that may be chosen, a choice, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sync.selection.score import Found
from sync.selection.similar import Vector


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A capture of the pool.

    `detections` is None while no model has looked. `descriptor` (appearance) and `embedding` (of the model) are float32 vectors. `drifted`:
    its source has an open alert. `novelty` is that of `sync.selection.novelty`. `propensity` is the chance with which its audit was drawn.
    """

    capture_id: int
    image_id: int
    source: str
    audit: bool
    detections: tuple[Found, ...] | None = None
    descriptor: Vector | None = None
    embedding: Vector | None = None
    drifted: bool = False
    novelty: float | None = None
    propensity: float | None = None

    @property
    def drawn(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen capture, why, how urgent it is (0–1, higher first), and the numbers behind it."""

    candidate: Candidate
    reason: str
    priority: float
    scores: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A capture that was not chosen, and why.

    same_image, not_looked_at, certain, near_duplicate (of the image `of`), source_quota, label_quota, or budget.
    """

    candidate: Candidate
    why: str
    of: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Every capture of the pool is in one of the two. Choices stand in the order in which they were made."""

    choices: list[Choice]
    left_out: list[LeftOut]


def one_per_image(pool: Iterable[Candidate]) -> list[Candidate]:
    """Of captures that share an image the audited one stands for it, else one of a drifted source, else the newest; newest first."""
    ordered = sorted(pool, key=lambda candidate: (candidate.audit, candidate.drifted, candidate.capture_id))
    distinct = {candidate.image_id: candidate for candidate in ordered}
    return sorted(distinct.values(), key=lambda candidate: -candidate.capture_id)
