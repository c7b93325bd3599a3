"""What happened lately, newest first, in one line each: runs, deployments, alerts, labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain, groupby
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from labelwheel.database.tables import Alert, Deployment, Label, TrainingRun
from retrain.policy import CALLED

LABELS_LOOKED_AT = 300
ENDS = {
    "promoted": "was better and was promoted",
    "kept_champion": "was not better: the model stays",
    "failed": "failed",
    "cancelled": "was cancelled",
}


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is training, deployment, drift, calm or labels; `at` is ISO in UTC."""

    at: str
    kind: str
    text: str


def recent(session: Session, project_id: int, limit: int) -> list[dict[str, Any]]:
    """The newest `limit` events of a project."""
    kinds = (_runs, _deployments, _alerts, _labels)
    found = chain.from_iterable(kind(session, project_id, limit) for kind in kinds)
    return [asdict(event) for event in sorted(found, key=lambda event: event.at, reverse=True)[:limit]]


def _runs(session: Session, project_id: int, limit: int) -> Iterator[Event]:
    query = select(TrainingRun).where(TrainingRun.project_id == project_id).order_by(TrainingRun.id.desc()).limit(limit)
    for run in session.scalars(query):
        yield _event(run.created_at, "training", f"Training {run.id} was queued {CALLED.get(run.cause, run.cause)}.")
        if run.finished_at is not None:
            yield _event(run.finished_at, "training", f"Training {run.id} {ENDS.get(run.status, run.status)}.")


def _deployments(session: Session, project_id: int, limit: int) -> Iterator[Event]:
    query = select(Deployment).where(Deployment.project_id == project_id, Deployment.role == "champion")
    rows = session.scalars(query.options(joinedload(Deployment.model_version)).order_by(Deployment.id.desc()).limit(limit))
    for row in rows:
        yield _event(row.created_at, "deployment", f"{row.model_version.title} was deployed.")


def _alerts(session: Session, project_id: int, limit: int) -> Iterator[Event]:
    query = select(Alert).where(Alert.project_id == project_id).order_by(Alert.id.desc()).limit(limit)
    for alert in session.scalars(query):
        yield _event(alert.raised_at, "drift", alert.message)
        if alert.resolved_at is not None:
            yield _event(alert.resolved_at, "calm", f"{alert.feature.capitalize()} of {alert.source} is calm again.")


def _labels(session: Session, project_id: int, limit: int) -> Iterator[Event]:
    """One event per annotator and hour: thirty boxes drawn in a row are one piece of news."""
    query = select(Label.approved_at, Label.annotator).where(Label.project_id == project_id, Label.approved_at.is_not(None))
    rows = session.execute(query.order_by(Label.approved_at.desc()).limit(LABELS_LOOKED_AT)).tuples()
    moments = ((at, annotator) for at, annotator in rows if at is not None)
    for (_, annotator), group in groupby(moments, key=lambda row: (row[0].replace(minute=0, second=0, microsecond=0), row[1])):
        times = [at for at, _ in group]
        yield _event(times[0], "labels", f"{len(times)} image{'s' if len(times) > 1 else ''} labelled by {annotator}.")


def _event(at: datetime, kind: str, text: str) -> Event:
    return Event(at.isoformat(timespec="seconds"), kind, text)
