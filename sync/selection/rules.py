"""What a choice is told: measure, budget, quotas, and how much of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sync.selection.score import MEASURES, Scale

RANDOM = "random"
STRATEGIES = (*MEASURES, RANDOM)
UNBOUNDED = 2**31


@dataclass(frozen=True, slots=True)
class Rules:
    """All that a choice may be told.

    `budget`: how many beside the audits; of these at most `drift` and `novelty` for these reasons. `uncertainty`: a measure of `sync.selection.score`
    or `random`; below `least` (0–1) an image is certain. `low` and `high`: the band. `weights`: of labels, 0–1. `spread`: k-means++ chooses
    among so many times the budget; 0: by rank alone. `distance`: between the descriptors of near-duplicates, at most; 0: there are none.
    `novel_from`: novelty from which an image is far. `sources`, `labels`: how many of each may be chosen; `*` is for each that is not named.
    """

    budget: int
    uncertainty: str = "expected_errors"
    low: float = 0.4
    high: float = 0.7
    least: float = 0.05
    weights: Mapping[str, float] = field(default_factory=dict)
    spread: int = 4
    distance: float = 0.1
    drift: int = 0
    novelty: int = 0
    novel_from: float = 1.5
    sources: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def scale(self) -> Scale:
        return Scale(self.low, self.high, self.weights)

    @property
    def factor(self) -> int:
        """How many are looked at for each that is chosen."""
        return max(self.spread, 1)

    def of_lane(self, lane: str) -> int:
        """How many may be chosen for this reason."""
        return max({"drift": self.drift, "novelty": self.novelty}.get(lane, self.budget), 0)

    def of_source(self, source: str) -> int:
        return _room(self.sources, source)

    def of_label(self, label: str) -> int:
        """How many images may be chosen for this label; any number for none."""
        return _room(self.labels, label) if label else UNBOUNDED


def _room(quotas: Mapping[str, int], name: str) -> int:
    return max(quotas.get(name, quotas.get("*", UNBOUNDED)), 0)
