"""Which captures a person shall look at: pure, so that every choice can be replayed from what was stored with it.

While there is no model, a first batch is spread over the appearance of the pool. With a model, captures with a detection
inside the uncertainty band are ranked by the errors expected there, and the budget takes the top. The band is not a
filter by itself: on real boards it holds some box of nine images in ten (`docs/decisions/rank-within-the-band.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

AUDIT_PRIORITY = 1.0  # first: a holdout with holes is biased
MAX_CLUSTERED = 5000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A capture of the pool. `confidences` is None while no model has looked; `descriptor` is its appearance vector."""

    capture_id: int
    image_id: int
    source: str
    audit: bool
    confidences: tuple[float, ...] | None = None
    descriptor: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """Edges of the uncertainty band, and how many captures may be chosen beside the audits."""

    low: float
    high: float
    budget: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen capture, why, and how urgent it is (0–1, higher first)."""

    candidate: Candidate
    reason: str
    priority: float
    scores: dict[str, float]


def choose(pool: Sequence[Candidate], rules: Rules) -> list[Choice]:
    """Every audit, and the most uncertain others within the budget; one choice per image."""
    distinct = list({candidate.image_id: candidate for candidate in sorted(pool, key=_audit_last)}.values())
    audits = [Choice(candidate, "audit", AUDIT_PRIORITY, _scores(candidate, rules)) for candidate in distinct if candidate.audit]
    ranked = sorted(_uncertain((candidate for candidate in distinct if not candidate.audit), rules), key=lambda choice: -choice.priority)
    return audits + ranked[: rules.budget]


def choose_first(pool: Sequence[Candidate], budget: int, seed: int) -> list[Choice]:
    """Every audit, and a batch spread over the appearance of the pool: k-means++ seeding on the descriptors."""
    distinct = list({candidate.image_id: candidate for candidate in sorted(pool, key=_audit_last)}.values())
    audits = [Choice(candidate, "audit", AUDIT_PRIORITY, {}) for candidate in distinct if candidate.audit]
    others = [candidate for candidate in distinct if not candidate.audit and candidate.descriptor is not None]
    spread = _spread(others, budget, seed)
    return audits + [Choice(candidate, "novelty", round(1 - rank / max(len(spread), 1), 4), {}) for rank, candidate in enumerate(spread)]


def expected_errors(confidences: Sequence[float], low: float, high: float) -> float:
    """Errors expected among the detections inside the band: a box held at confidence c is wrong with chance 1 − c, right with c."""
    return float(sum(min(value, 1 - value) for value in confidences if low <= value <= high))


def _audit_last(candidate: Candidate) -> bool:
    return candidate.audit  # of captures that share an image, the audited one stands for it


def _uncertain(candidates: Iterable[Candidate], rules: Rules) -> list[Choice]:
    choices = []
    for candidate in candidates:
        scores = _scores(candidate, rules)
        if scores.get("in_band"):
            # Saturating, so that the column in Label Studio stays readable: 1 expected error is .5, 3 are .75.
            priority = scores["expected_errors"] / (1 + scores["expected_errors"])
            choices.append(Choice(candidate, "low_confidence", round(priority, 4), scores))
    return choices


def _scores(candidate: Candidate, rules: Rules) -> dict[str, float]:
    if candidate.confidences is None:
        return {}
    inside = [value for value in candidate.confidences if rules.low <= value <= rules.high]
    return {
        "in_band": len(inside),
        "expected_errors": round(expected_errors(candidate.confidences, rules.low, rules.high), 4),
        "top_confidence": round(max(candidate.confidences, default=0.0), 4),
    }


def _spread(candidates: Sequence[Candidate], budget: int, seed: int) -> list[Candidate]:
    if len(candidates) <= budget:
        return list(candidates)
    if budget == 0:
        return []
    from sklearn.cluster import kmeans_plusplus  # only the worker pays for this import

    rng = np.random.default_rng(seed)
    sample = [candidates[i] for i in sorted(rng.choice(len(candidates), min(len(candidates), MAX_CLUSTERED), replace=False))]
    vectors = np.array([candidate.descriptor for candidate in sample], dtype=np.float64)
    scale = vectors.std(axis=0)
    _, chosen = kmeans_plusplus(vectors / np.where(scale > 0, scale, 1.0), min(budget, len(sample)), random_state=seed % 2**32)
    return [sample[i] for i in dict.fromkeys(int(index) for index in chosen)]
