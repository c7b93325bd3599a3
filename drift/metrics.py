"""What the REST API and the page show of drift: scores over time, their state, open alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from drift.windows import FEATURES
from labelwheel.database.tables import Alert, Capture, DriftReport, Project
from labelwheel.settings import Settings

SERIES = 60


def metrics(session: Session, project: Project, settings: Settings) -> dict[str, Any]:
    """Per source and feature: series of scores (oldest first), threshold, state and the open alert.

    `state` is `waiting` (not measured yet), `calm`, `drifted` (the latest window, no alert yet) or `alert`. Scores are in
    standard deviations of the reference.
    """
    alerts = _open_alerts(session, project.id)
    counts = session.execute(select(Capture.source, func.count()).where(Capture.project_id == project.id).group_by(Capture.source))
    needed = settings.drift_reference + settings.drift_window
    return {
        "threshold": settings.drift_threshold,
        "captures_needed": needed,
        "sources": [_source(session, project.id, source, count, alerts) for source, count in sorted(counts.tuples())],
        "alerts": [_alert(alert) for alert in alerts.values()],
    }


def state(series: Sequence[DriftReport], alert: Alert | None) -> str:
    """One word for reports (newest first) and the alert that is open."""
    if alert is not None:
        return "alert"
    if not series:
        return "waiting"
    return "drifted" if series[0].drifted else "calm"


def _source(session: Session, project_id: int, source: str, captures: int, alerts: dict[tuple[str, str], Alert]) -> dict[str, Any]:
    features = [_feature(_series(session, project_id, source, name), name, alerts.get((source, name))) for name in FEATURES]
    return {"source": source, "captures": captures, "features": features}


def _feature(series: Sequence[DriftReport], name: str, alert: Alert | None) -> dict[str, Any]:
    newest = series[0] if series else None
    return {
        "feature": name,
        "state": state(series, alert),
        "method": newest.method if newest else None,
        "score": newest.score if newest else None,
        "threshold": newest.threshold if newest else None,
        "reference": newest.summary["reference"] if newest else None,
        "window": newest.summary["window"] if newest else None,
        "series": [{"at": row.created_at.isoformat(), "score": row.score, "drifted": row.drifted} for row in reversed(series)],
        "alert": _alert(alert) if alert else None,
    }


def _series(session: Session, project_id: int, source: str, feature: str) -> Sequence[DriftReport]:
    mine = (DriftReport.project_id == project_id, DriftReport.source == source, DriftReport.feature == feature)
    return session.scalars(select(DriftReport).where(*mine).order_by(DriftReport.id.desc()).limit(SERIES)).all()


def _open_alerts(session: Session, project_id: int) -> dict[tuple[str, str], Alert]:
    query = select(Alert).where(Alert.project_id == project_id, Alert.resolved_at.is_(None)).order_by(Alert.id.desc())
    return {(alert.source, alert.feature): alert for alert in session.scalars(query)}


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "source": alert.source,
        "feature": alert.feature,
        "message": alert.message,
        "raised_at": alert.raised_at.isoformat(),
        "report_id": alert.drift_report_id,
    }
