"""How far a window lies from its reference: Evidently's normed Wasserstein distance, the method fixed.

Evidently's default changes its method with the number of rows, and its p-value tests find "drift" by chance in one of
nine columns of 60 rows; a distance in standard deviations of the reference means the same at every size.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

METHOD = "wasserstein"
MIN_ROWS = 10
MIN_SPREAD = 0.001  # below it Evidently norms by a constant, and a score says nothing


@dataclass(frozen=True, slots=True)
class DriftScore:
    """Distance of one feature, in standard deviations of the reference; drifted from `threshold` on."""

    feature: str
    method: str
    score: float
    threshold: float
    drifted: bool


@dataclass(frozen=True, slots=True)
class Measurement:
    """A score and Evidently's report behind it."""

    score: DriftScore
    snapshot: Snapshot

    def save_html(self, path: Path) -> None:
        """Write Evidently's page (self-contained, about 4 MB)."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.snapshot.save_html(str(path))


def obstacle(reference: Sequence[float], window: Sequence[float]) -> str | None:
    """Why these values cannot be measured, in words; None when they can."""
    if min(len(reference), len(window)) < MIN_ROWS:
        return f"fewer than {MIN_ROWS} values"
    if statistics.pstdev(reference) < MIN_SPREAD:
        return "the reference is constant"
    return None


def measure(feature: str, reference: Sequence[float], window: Sequence[float], threshold: float) -> Measurement:
    """Compare two samples of one feature. ValueError when `obstacle` names a reason."""
    if reason := obstacle(reference, window):
        raise ValueError(f"{feature} cannot be measured: {reason}.")
    snapshot = _run(feature, reference, window, threshold)
    score = round(float(snapshot.dict()["metrics"][0]["value"]), 4)
    return Measurement(DriftScore(feature, METHOD, score, threshold, score >= threshold), snapshot)


def summarize(values: Sequence[float]) -> dict[str, float]:
    """Mean and standard deviation, for people who read the report's row."""
    return {"mean": round(statistics.fmean(values), 4), "std": round(statistics.pstdev(values), 4)}


def _run(feature: str, reference: Sequence[float], window: Sequence[float], threshold: float) -> Snapshot:
    import pandas
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    definition = DataDefinition(numerical_columns=[feature])

    def dataset(values: Sequence[float]) -> Any:
        return Dataset.from_pandas(pandas.DataFrame({feature: values}, dtype=float), data_definition=definition)

    report = Report([ValueDrift(column=feature, method=METHOD, threshold=threshold)])
    return report.run(current_data=dataset(window), reference_data=dataset(reference))
