"""How often a run may be taken up again. Attempts that got somewhere are forgiven: a week of training outlives any number of restarts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from labelwheel.errors import TrainingError

MOST_FRUITLESS = 3
WORTH = 5.0  # percent of a run that an attempt must bring: a crash at the same place brings a little more or less each time


class Waits(TrainingError):
    """The run cannot go on now, through no fault of its own: it waits, however long, and that is no attempt."""


@dataclass(frozen=True, slots=True)
class Stood:
    """Where a run stood when it last got on, and how many attempts it had had then."""

    percent: float = 0.0
    attempts: int = 0

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> Stood:
        return cls(**(metrics.get("stood") or {}))

    def now(self, percent: float, attempts: int) -> Stood:
        return Stood(percent, attempts) if percent >= self.percent + WORTH else self

    def fruitless(self, attempts: int) -> int:
        """Attempts since then."""
        return attempts - self.attempts

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
