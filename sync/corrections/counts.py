"""How people corrected the pre-annotations, counted: by class, source or model version."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Literal, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from labelwheel.database.tables import AnnotationRevision, Correction
from sync.corrections.correct import ADDED, DELETED, KEPT, OUTCOMES

By = Literal["class", "source", "model"]
BYS: tuple[By, ...] = get_args(By)
NOTHING_SHOWN = "(none)"  # of an annotation that began from an empty image


def standing(session: Session, project_id: int) -> list[Correction]:
    """The corrections of annotations as they stand now: of each its newest revision, if it is neither deleted nor skipped."""
    later = aliased(AnnotationRevision)
    same = (later.project_id == AnnotationRevision.project_id, later.unique_id == AnnotationRevision.unique_id)
    overtaken = select(later.id).where(*same, later.updated_at > AnnotationRevision.updated_at).exists()
    query = select(Correction).join(AnnotationRevision, AnnotationRevision.id == Correction.annotation_revision_id)
    query = query.where(Correction.project_id == project_id, AnnotationRevision.deleted_at.is_(None), ~overtaken)
    return list(session.scalars(query.order_by(Correction.id)))


def corrections(session: Session, project_id: int, by: By = "class") -> dict[str, Any]:
    """Counts of what became of the boxes, JSON-ready: in all, and a row for each class, source or model version."""
    found = standing(session, project_id)
    return {"by": by, "annotations": len(found), "total": _count(found), "rows": rows(found, by)}


def brief(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of `corrections` as they fit a screen of 80 columns; "seconds" is the median of an annotation."""
    return [
        {
            found["by"]: row[found["by"]],
            **{name: row[name] for name in OUTCOMES},
            "kept %": "" if row["kept_share"] is None else round(100 * row["kept_share"]),
            **({"seconds": row["seconds"]} if "seconds" in row else {}),
        }
        for row in found["rows"]
    ]


def rows(found: Iterable[Correction], by: By) -> list[dict[str, Any]]:
    """One row for each value, in the order of their names."""
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    for correction in found:
        for name, outcomes in _parts(correction, by):
            tallies[name].add(outcomes, correction.seconds)
    return [{by: name, **tallies[name].as_dict(timed=by != "class")} for name in sorted(tallies)]


@dataclass
class Tally:
    """What is counted of one value."""

    annotations: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    confidences: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, outcomes: Iterable[dict[str, Any]], seconds: float | None) -> None:
        self.annotations += 1
        self.seconds += [] if seconds is None else [seconds]
        for outcome in outcomes:
            self.counts[outcome["outcome"]] += 1
            if outcome["confidence"] is not None:
                self.confidences[outcome["outcome"]].append(outcome["confidence"])

    def as_dict(self, timed: bool) -> dict[str, Any]:
        """`seconds` is the median of an annotation; a class has none, for an annotation's time is that of all its boxes."""
        shown = self.counts.total() - self.counts[ADDED]
        drawn = self.counts.total() - self.counts[DELETED]
        return {
            "annotations": self.annotations,
            **{name: self.counts[name] for name in OUTCOMES},
            "kept_share": round(self.counts[KEPT] / shown, 4) if shown else None,
            "added_share": round(self.counts[ADDED] / drawn, 4) if drawn else None,
            "confidence_kept": _mean(self.confidences[KEPT]),
            "confidence_deleted": _mean(self.confidences[DELETED]),
            **({"seconds": round(median(self.seconds), 2) if self.seconds else None} if timed else {}),
        }


def _count(found: Iterable[Correction]) -> dict[str, Any]:
    tally = Tally()
    for correction in found:
        tally.add(correction.outcomes, correction.seconds)
    return tally.as_dict(timed=True)


def _parts(correction: Correction, by: By) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    if by == "class":
        # A relabelled box counts for the class that the model gave it: that is what was wrong.
        by_label: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for outcome in correction.outcomes:
            by_label[outcome["label"] or outcome["new_label"]].append(outcome)
        yield from by_label.items()
    else:
        yield (correction.source if by == "source" else correction.served_as or NOTHING_SHOWN), correction.outcomes


def _mean(values: list[float]) -> float | None:
    return round(fmean(values), 4) if values else None
