"""Every model version: what it is, where it is from, how good it was, and since when it serves. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from labelwheel.database.tables import DEFAULT_TAG, Decision, Deployment, ModelVersion, TrainingRun
from labelwheel.errors import InputError, NotFoundError
from labelwheel.vision.label_config import CHAMPION
from retrain.model.adopt import imported

HOLDOUT, GATE = "holdout", "gate"
SHORT = 8  # of a hash, for people

Scored = tuple[int, dict[int, dict[str, Any]]]  # the gate's decision, and scores by model version


def catalogue(session: Session, project_id: int) -> list[dict[str, Any]]:
    """Versions, newest first, as JSON-ready rows. `map50` is the newest score on a holdout, and `holdout` its version: only equal ones compare.

    `decision` is what the gate, or a person, said of the version last.
    """
    roles = _roles(session, project_id)
    origins, scores, deployed = imported(session, project_id), _scores(session, project_id), _deployed(session, project_id)
    decisions = _decisions(session, project_id)
    rows = session.scalars(select(ModelVersion).where(ModelVersion.project_id == project_id).order_by(ModelVersion.id.desc()))
    return [
        {
            "version": row.title,
            "champion": CHAMPION.alias in roles.get(row.id, []),
            "role": ", ".join(roles.get(row.id, [])),
            "task": row.task,
            "map50": scores.get(row.id, {}).get("map50"),
            "images": scores.get(row.id, {}).get("images"),
            "holdout": scores.get(row.id, {}).get("holdout"),
            "origin": f"import of {origins[row.id]['origin']}" if row.id in origins else f"training {row.training_run_id}",
            "decision": decisions.get(row.id),
            "created_at": row.created_at.isoformat(timespec="seconds"),
            "deployed_at": deployed[row.id].isoformat(timespec="seconds") if row.id in deployed else None,
        }
        for row in rows
    ]


def find(session: Session, project_id: int, name: str, ours: str) -> ModelVersion:
    """The version that a person names: `grade@3`, or `3` of the model called `ours`. Raises InputError or NotFoundError."""
    model, _, number = name.rpartition("@")
    if not number.isdecimal():
        raise InputError(f"{name!r} is no version.", "Name it as `labelwheel model list` does, or by its number alone.")
    query = select(ModelVersion).where(ModelVersion.project_id == project_id, ModelVersion.name == (model or ours))
    there = len(number) < 11 and int(number) < 2**31  # no column holds more
    found = session.scalar(query.where(ModelVersion.version == int(number))) if there else None
    if found is None:
        raise NotFoundError(f"There is no model version {name}.", "See `labelwheel model list`.")
    return found


def _roles(session: Session, project_id: int) -> dict[int, list[str]]:
    """Model version id → where it serves: `champion`, or a model's name and alias as tags name it."""
    newest = select(func.max(Deployment.id)).where(Deployment.project_id == project_id).group_by(Deployment.tag, Deployment.role)
    found: dict[int, list[str]] = {}
    for row in session.scalars(select(Deployment).where(Deployment.id.in_(newest)).order_by(Deployment.id)):
        found.setdefault(row.model_version_id, []).append(row.role if row.tag == DEFAULT_TAG else f"{row.tag}@{row.role}")
    return found


def _scores(session: Session, project_id: int) -> dict[int, dict[str, Any]]:
    """Model version id → its newest scores on a holdout, as challenger or as champion, of a run or of whoever asked the gate."""
    seen = [*_of_runs(session, project_id), *_of_asking(session, project_id)]
    return {version: scores for _, found in sorted(seen, key=lambda one: one[0]) for version, scores in found.items()}


def _of_runs(session: Session, project_id: int) -> Iterator[Scored]:
    for run in session.scalars(select(TrainingRun).where(TrainingRun.project_id == project_id).order_by(TrainingRun.id)):
        if run.metrics.get("judged_on", HOLDOUT) == HOLDOUT:
            judged = ((run.champion_id, "champion"), (run.challenger_id, "challenger"))
            scores = {version: run.metrics[role] for version, role in judged if version and run.metrics.get(role)}
            yield run.gate_decision_id or 0, _on(run.metrics.get("holdout"), scores)


def _of_asking(session: Session, project_id: int) -> Iterator[Scored]:
    query = select(Decision).where(Decision.project_id == project_id, Decision.kind == GATE)
    for row in session.scalars(query.order_by(Decision.id)):
        scores = row.inputs.get("scored") or {}
        yield row.id, _on(row.inputs.get("holdout"), {int(version): found for version, found in scores.items()})


def _on(holdout: str | None, scores: Mapping[int, Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    return {version: {**found, "holdout": (holdout or "")[:SHORT]} for version, found in scores.items()}


def _decisions(session: Session, project_id: int) -> dict[int, str]:
    """Model version id → what the gate said of it, or who deployed it since."""
    gate = select(TrainingRun.challenger_id, Decision.verdict).join(Decision, Decision.id == TrainingRun.gate_decision_id)
    said = {
        version: f"gate: {verdict}"
        for version, verdict in session.execute(gate.where(TrainingRun.project_id == project_id)).tuples()
        if version
    }
    since = select(Deployment.model_version_id, Decision.kind, Decision.verdict).join(Decision, Decision.id == Deployment.decision_id)
    for version, kind, verdict in session.execute(since.where(Deployment.project_id == project_id).order_by(Deployment.id)).tuples():
        said[version] = f"gate: {verdict}" if kind == GATE else f"{kind} by hand"
    return said


def _deployed(session: Session, project_id: int) -> dict[int, datetime]:
    query = select(Deployment.model_version_id, func.max(Deployment.created_at)).where(Deployment.project_id == project_id)
    return dict(session.execute(query.group_by(Deployment.model_version_id)).tuples().all())
