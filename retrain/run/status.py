"""Where the retraining stands, for the REST API and the pages. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import ACTIVE_RUN_STATUSES, Alert, Decision, ModelVersion, Project, TrainingRun
from labelwheel.errors import NotFoundError
from labelwheel.settings import Settings
from retrain.policy import conditions

__all__ = ["conditions", "find", "history", "one", "status"]

LISTED = "`labelwheel runs` lists them, and so does `GET /api/retraining/history`."


def status(session: Session, project: Project, settings: Settings, policy: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`state` (idle or an active run's status), `percent`, `eta_seconds`, last run and time, open drift alerts, labels, verdict.

    `policy` are the `conditions` of this moment, where the caller has them already.
    """
    runs = history(session, project, 2)
    active = next((run for run in runs if run["status"] in ACTIVE_RUN_STATUSES), None)
    ended = next((run for run in runs if run["status"] not in ACTIVE_RUN_STATUSES), None)
    policy = policy or conditions(session, project, settings)
    return {
        "state": active["status"] if active else "idle",
        "run": active["id"] if active else None,
        "percent": active["percent"] if active else None,
        "eta_seconds": (active["metrics"].get("progress") or {}).get("eta_seconds") if active else None,
        "last_run": ended,
        "last_time": ended["finished_at"] if ended else None,
        "drift": _alerts(session, project.id),
        "new_labels": policy["inputs"]["new_labels"],
        "should_retrain": policy["should_retrain"],
        "told": policy["told"],
    }


def history(session: Session, project: Project, limit: int, after: int | None = None) -> list[dict[str, Any]]:
    """Runs, newest first, each with its metrics, the gate's verdict in words and the control; `after` goes on below that run."""
    query = select(TrainingRun).where(TrainingRun.project_id == project.id).order_by(TrainingRun.id.desc()).limit(limit)
    rows = session.scalars(query if after is None else query.where(TrainingRun.id < after))
    return [_run(session, row) for row in rows]


def one(session: Session, project: Project, run_id: int) -> dict[str, Any]:
    """One run, as in the history. NotFoundError."""
    return _run(session, find(session, project.id, run_id))


def find(session: Session, project_id: int, run_id: int) -> TrainingRun:
    """The run of a project. NotFoundError."""
    row = session.get(TrainingRun, run_id) if 0 < run_id < 2**31 else None
    if row is None or row.project_id != project_id:
        raise NotFoundError(f"There is no training run {run_id}.", LISTED)
    return row


def _run(session: Session, row: TrainingRun) -> dict[str, Any]:
    decision = session.get(Decision, row.gate_decision_id) if row.gate_decision_id else None
    return {
        "id": row.id,
        "status": row.status,
        "cause": row.cause,
        "slice": row.slice,
        "request": row.request,
        "percent": round(row.percent, 1),
        "new_labels": row.new_labels,
        "attempts": row.attempts,
        "champion": title_of(session, row.champion_id),
        "challenger": title_of(session, row.challenger_id),
        "metrics": row.metrics,
        "gate": {"verdict": decision.verdict, "reasons": decision.reasons} if decision else None,
        "control": row.control,
        "mlflow_run_id": row.mlflow_run_id,
        "error": row.error,
        "created_at": row.created_at.isoformat(),
        "finished_at": _iso(row.finished_at),
    }


def title_of(session: Session, model_version_id: int | None) -> str | None:
    """Name and number of a model version; None of none."""
    version = session.get(ModelVersion, model_version_id) if model_version_id else None
    return version.title if version else None


def _alerts(session: Session, project_id: int) -> list[dict[str, Any]]:
    query = select(Alert).where(Alert.project_id == project_id, Alert.resolved_at.is_(None)).order_by(Alert.id)
    columns = ("source", "feature", "message")
    return [{**{name: getattr(row, name) for name in columns}, "raised_at": _iso(row.raised_at)} for row in session.scalars(query)]


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
