"""All that the overview page shows, gathered in one consistent read. The page and `GET /api/overview` share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from console import events
from console.next_step import Loop, next_step
from drift.metrics import metrics as drift_metrics
from labelwheel.database.tables import ACTIVE_RUN_STATUSES, Capture, Deployment, Label, Project, TrainingRun
from labelwheel.pause import paused, told
from labelwheel.serving import newest_deployment, newest_line_up
from labelwheel.settings import Settings
from labelwheel.vision.label_config import CHAMPION
from retrain.run import status as retraining
from sync import queue

EVENTS = 12
VERDICTS = {"promoted": "pass", "kept_champion": "keep", "failed": "fail", "cancelled": "stop"}


@dataclass(frozen=True, slots=True)
class Station:
    """One station of the wheel. `state` is idle, waiting (something lies here), busy, good or bad."""

    name: str
    value: str
    detail: str
    state: str = "idle"


def overview(session: Session, project: Project, settings: Settings) -> dict[str, Any]:
    """One key per panel: project, wheel (seven stations), next_step, labels, model, run, retraining, conditions, queue, paused, drift, events."""
    stats = queue.stats(session, project.id)
    conditions = retraining.conditions(session, project, settings)
    shift = drift_metrics(session, project, settings)
    runs = _newest_runs(session, project.id)
    deployment = newest_deployment(session, project.id)
    loop = _loop(session, project.id, settings, stats, runs, deployment)
    return {
        "project": _project(project, settings),
        "wheel": [asdict(station) for station in stations(loop, len(shift["sources"]))],
        "next_step": next_step(loop),
        "labels": {"have": loop.labels, "need": loop.labels_needed},
        "model": _model(session, deployment) if deployment else None,
        "run": _run(runs[0]) if runs and runs[0].status in ACTIVE_RUN_STATUSES else None,
        "retraining": retraining.status(session, project, settings, conditions),
        "conditions": conditions,
        "queue": stats,
        "paused": told(pause) if (pause := paused(session, project.id)) else None,
        "drift": shift,
        "events": events.recent(session, project.id, EVENTS),
    }


def stations(loop: Loop, sources: int) -> list[Station]:
    """The wheel in the order in which it turns."""
    active, ended = loop.active_run, loop.last_verdict
    return [
        Station("Captures", str(loop.captures), _many(sources, "source"), "idle" if loop.captures else "waiting"),
        Station("Queue", str(loop.pending), "to be sent", "busy" if loop.pending else "idle"),
        Station("Label Studio", str(loop.pushed), "with people", "waiting" if loop.pushed else "idle"),
        Station("Labels", str(loop.labels), "approved", "idle"),
        Station(
            "Training",
            f"{loop.percent:.0f} %" if active else str(loop.runs),
            active or _many(loop.runs, "run", False),
            "busy" if active else "idle",
        ),
        Station("Gate", VERDICTS.get(ended or "", "–"), "last verdict", {"promoted": "good", "failed": "bad"}.get(ended or "", "idle")),
        Station("Model", loop.model or "–", "serves" if loop.model else "none yet", "good" if loop.model else "idle"),
    ]


def _loop(
    session: Session,
    project_id: int,
    settings: Settings,
    stats: Mapping[str, Any],
    runs: list[TrainingRun],
    deployment: Deployment | None,
) -> Loop:
    active = runs[0] if runs and runs[0].status in ACTIVE_RUN_STATUSES else None
    ended = next((run.status for run in runs if run.status not in ACTIVE_RUN_STATUSES), None)
    return Loop(
        captures=_count(session, select(func.count()).where(Capture.project_id == project_id)),
        pending=stats["by_status"].get("pending", 0),
        pushed=stats["by_status"].get("pushed", 0),
        labels=_count(session, _labels(project_id)),
        labels_needed=settings.first_labels,
        runs=_count(session, select(func.count()).where(TrainingRun.project_id == project_id)),
        active_run=active.status if active else None,
        percent=active.percent if active else 0.0,
        last_verdict=ended,
        model=f"v{deployment.model_version.version}" if deployment else None,
    )


def _labels(project_id: int) -> Any:
    usable = (Label.approved_at.is_not(None), Label.superseded_by.is_(None), Label.withdrawn_at.is_(None))
    return select(func.count()).where(Label.project_id == project_id, *usable)


def _count(session: Session, query: Any) -> int:
    return int(session.scalar(query) or 0)


def _newest_runs(session: Session, project_id: int) -> list[TrainingRun]:
    return list(session.scalars(select(TrainingRun).where(TrainingRun.project_id == project_id).order_by(TrainingRun.id.desc()).limit(5)))


def _project(project: Project, settings: Settings) -> dict[str, Any]:
    address = settings.label_studio_public_url
    return {
        "title": project.title,
        "ls_project_id": project.ls_project_id,
        "label_studio_url": f"{address}/projects/{project.ls_project_id}/data" if address else None,
    }


def _run(run: TrainingRun) -> dict[str, Any]:
    return {"id": run.id, "status": run.status, "cause": run.cause, "percent": round(run.percent), "started_at": run.created_at.isoformat()}


def _model(session: Session, deployment: Deployment) -> dict[str, Any]:
    version = deployment.model_version
    run = session.get(TrainingRun, version.training_run_id) if version.training_run_id else None
    return {
        "title": version.title,
        "task": version.task,
        "version": version.version,
        "served_as": deployment.served_as,
        "deployed_at": deployment.created_at.isoformat(),
        "refreshed_at": deployment.refreshed_at.isoformat() if deployment.refreshed_at else None,
        "run": run.id if run else None,
        "new_labels": run.new_labels if run else None,
        "beside": _beside(session, deployment.project_id),
        **scores(run.metrics if run else {}),
    }


def _beside(session: Session, project_id: int) -> list[dict[str, str]]:
    """The models that tags of the label config name."""
    line_up = newest_line_up(session, project_id)
    others = {slot: row.model_version for slot, row in line_up.items() if slot != CHAMPION}
    return [{"slot": str(slot), "title": version.title, "task": version.task} for slot, version in others.items()]


def scores(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """mAP50 on the holdout: of the model, and of the one that it replaced, both on the same images."""
    after, before = metrics.get("challenger") or {}, metrics.get("champion") or {}
    return {"map50": after.get("map50"), "map50_before": before.get("map50")}


def _many(number: int, noun: str, counted: bool = True) -> str:
    word = noun if number == 1 else f"{noun}s"
    return f"{number} {word}" if counted else word
