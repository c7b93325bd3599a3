"""Where one model version comes from: dataset, labels, who labelled, why it was trained, why it serves. Reads only."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from labelwheel.database.tables import Dataset, DatasetItem, Decision, Deployment, Label, ModelVersion, Project, TrainingRun
from labelwheel.errors import InputError
from labelwheel.serving import model_path
from labelwheel.settings import Settings
from labelwheel.vision.image import digest
from labelwheel.vision.label_config import parse, shown_tags
from retrain.model.adopt import imported


def provenance(session: Session, project: Project, settings: Settings, version: ModelVersion) -> dict[str, Any]:
    """All that is known of a version, as JSON. `files` are hashed anew: `as_recorded` says whether each is the one that was kept."""
    run = session.get(TrainingRun, version.training_run_id) if version.training_run_id else None
    dataset = session.get(Dataset, run.dataset_id) if run and run.dataset_id else None
    return {
        "version": version.title,
        "task": version.task,
        "created_at": _iso(version.created_at),
        "origin": imported(session, project.id).get(version.id),
        "files": [
            _file("onnx", version.onnx_uri, settings, version.onnx_sha256),
            _file("weights", version.weights_uri, settings, version.weights_sha256),
        ],
        "mlflow_run_id": version.mlflow_run_id,
        "classes": dict(enumerate(version.classes)),
        "class_map_version": version.class_map.version,
        "thresholds": _thresholds(project, version, settings),
        "training": _training(session, run) if run else None,
        "dataset": _dataset(session, dataset) if dataset else None,
        "deployments": [_deployment(session, row) for row in session.scalars(_deployments(version))],
    }


def _file(kind: str, uri: str, settings: Settings, recorded: str | None = None) -> dict[str, Any]:
    path = model_path(uri, settings) if uri else Path()
    sha256 = digest(path.read_bytes()) if uri and path.is_file() else None
    return {"kind": kind, "uri": uri or None, "sha256": sha256, "as_recorded": sha256 == recorded if recorded and sha256 else None}


def _thresholds(project: Project, version: ModelVersion, settings: Settings) -> dict[str, Any]:
    """From which confidence each class is shown, by tag; the gate's and the detector's are settings."""
    try:
        tags = shown_tags(parse(project.label_config))
    except InputError:  # a config that cannot be read shows nothing
        return {}
    found = {tag.name: {label: tag.shows(label, settings.display_threshold) for label in version.classes} for tag in tags}
    return {name: {label: shown[1] if shown else None for label, shown in labels.items()} for name, labels in found.items()}


def _training(session: Session, run: TrainingRun) -> dict[str, Any]:
    champion = session.get(ModelVersion, run.champion_id) if run.champion_id else None
    return {
        "run": run.id,
        "cause": run.cause,
        "slice": run.slice,
        "request": run.request,
        "status": run.status,
        "champion": champion.title if champion else None,
        "recipe": run.metrics.get("training"),
        "policy": _decision(session, run.decision_id),
        "gate": _decision(session, run.gate_decision_id),
        "finished_at": _iso(run.finished_at),
    }


def _dataset(session: Session, dataset: Dataset) -> dict[str, Any]:
    """What it holds, and who drew and who approved its labels: how many of each."""
    query = select(Label.annotator, Label.approved_by, DatasetItem.split, func.count())
    query = query.join(DatasetItem, DatasetItem.label_id == Label.id).where(DatasetItem.dataset_id == dataset.id)
    rows = session.execute(query.group_by(Label.annotator, Label.approved_by, DatasetItem.split)).tuples().all()
    by: dict[str, Counter[str]] = {"annotators": Counter(), "approved_by": Counter(), "labels": Counter()}
    for annotator, approved_by, split, count in rows:
        by["annotators"][annotator] += count
        by["approved_by"][approved_by or "?"] += count
        by["labels"][split] += count
    return {
        "hash": dataset.content_hash,
        "dvc": dataset.dvc_hash,
        "holdout": dataset.holdout,
        "counts": dataset.counts,
        **{name: dict(sorted(counts.items())) for name, counts in by.items()},
    }


def _deployments(version: ModelVersion) -> Any:
    return select(Deployment).where(Deployment.model_version_id == version.id).order_by(Deployment.id)


def _deployment(session: Session, row: Deployment) -> dict[str, Any]:
    slot = {"tag": row.tag, "role": row.role, "served_as": row.served_as, "at": _iso(row.created_at)}
    return {**slot, "decision": _decision(session, row.decision_id)}


def _decision(session: Session, decision_id: int | None) -> dict[str, Any] | None:
    """What was decided and why; the policy's reasons are told by their texts."""
    row = session.get(Decision, decision_id) if decision_id else None
    if row is None:
        return None
    reasons = [str(reason["text"]) if isinstance(reason, dict) else str(reason) for reason in row.reasons]
    return {"id": row.id, "kind": row.kind, "verdict": row.verdict, "reasons": reasons, "at": _iso(row.at)}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
