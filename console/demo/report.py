"""The demo's report, recomputed from where the truth lies: Label Studio, the database, MLflow and DVC.

Nothing that a step said is believed here: counts are counted again, files are hashed again, models are scored again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from console.demo import picture, scenario
from labelwheel.database import get_database
from labelwheel.database.tables import (
    ACTIVE_RUN_STATUSES,
    Alert,
    AnnotationRevision,
    Capture,
    Dataset,
    DatasetItem,
    Decision,
    Deployment,
    DriftReport,
    Label,
    LsTask,
    ModelVersion,
    QueueItem,
    TrainingRun,
)  # fmt: skip
from labelwheel.serving import model_path
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision.detector import Detector

if TYPE_CHECKING:
    from console.demo.stage import Stage

HOLDOUT_WANTED = 150
MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]○[/]"}


@dataclass(frozen=True, slots=True)
class Check:
    """One claim, whether it holds (None: the demo did not come so far), and the numbers it was judged by."""

    name: str
    ok: bool | None
    seen: str


def recompute(stage: Stage, failure: str) -> dict[str, Any]:
    """Everything that `report.json` holds."""
    found: dict[str, Any] = {
        "seed": stage.scenario.seed,
        "missing_source": stage.scenario.missing_source,
        "missing_label": stage.scenario.missing_label,
        "labels": list(stage.scenario.labels),
        "frames": {act: scenario.counts(getattr(stage.scenario.acts, act)) for act in ("cold", "stream", "calm", "dark")},
        "scripted_annotator": asdict(stage.tally),
        "steps": [asdict(step) for step in stage.steps],
        "failure": failure,
    }
    found["label_studio"] = _label_studio(stage)
    with get_database(stage.settings.database_url).read() as session:
        found["database"] = _database(session)
        found["training"] = [_run(session, run, stage.settings) for run in session.scalars(select(TrainingRun).order_by(TrainingRun.id))]
        found["drift"] = _drift(session)
    found["mlflow"] = _mlflow(stage.settings)
    found["dvc"] = _dvc(stage.settings, found["training"])
    found["checks"] = [asdict(check) for check in checks(stage, found)]
    found["seconds"] = round(time.monotonic() - stage.began, 1)
    found["ok"] = not failure and all(check["ok"] for check in found["checks"])
    return found


def save(found: dict[str, Any], folder: Path) -> None:
    """Write `report.json` and `report.png`."""
    (folder / "report.json").write_text(json.dumps(found, indent=2, default=str) + "\n")
    picture.draw(found, folder / "report.png")


def show(found: dict[str, Any], folder: Path, screen: Console) -> None:
    """The table at the end."""
    table = Table("", "check", "seen", title="What was observed, recomputed from Label Studio, database, MLflow and DVC")
    for check in found["checks"]:
        table.add_row(MARKS[check["ok"]], check["name"], "not reached" if check["ok"] is None else escape(check["seen"]))
    screen.print(table)
    if found["failure"]:
        screen.print(f"[red]✗[/] {found['failure']}", highlight=False)
    screen.print(
        f"Seed {found['seed']}, {found['seconds']:.0f} s. Report: {folder / 'report.json'}, picture: {folder / 'report.png'}",
        highlight=False,
    )


def _label_studio(stage: Stage) -> dict[str, Any]:
    from sync.jobs import open_client

    client = open_client(stage.settings)
    tasks = list(client.changed_tasks(stage.project_id, None))
    submitted = [entry for task in tasks for entry in task["annotations"] if not entry["was_cancelled"]]
    keys = [task["data"]["labelwheel_key"] for task in tasks]
    version = client.project(stage.project_id).model_version
    untouched = [task for task in tasks if not task["annotations"]]
    return {
        "release": client.version(),
        "tasks": len(tasks),
        "keys": len(set(keys)),
        "annotated": len(submitted),
        "skipped": sum(entry["was_cancelled"] for task in tasks for entry in task["annotations"]),
        "boxes": sum(len(entry["result"]) for entry in submitted),
        "open": len(untouched),
        "open_with_current_version": sum(any(p["model_version"] == version for p in task["predictions"]) for task in untouched),
        "model_version": version,
        "predictions": _tally(entry["model_version"] for task in tasks for entry in task["predictions"]),
    }


def _database(session: Session) -> dict[str, Any]:
    current = (Label.superseded_by.is_(None), Label.withdrawn_at.is_(None))
    return {
        "captures": _count(session, Capture),
        "audits": _count(session, Capture, Capture.audit.is_(True)),
        "holdout_captures": _count(session, Capture, Capture.split == "holdout"),
        "queue": _grouped(session, QueueItem.reason, QueueItem.status),
        "tasks": _count(session, LsTask),
        "mirrored_annotations": session.scalar(select(func.count(func.distinct(AnnotationRevision.unique_id)))) or 0,
        "labels": _count(session, Label, *current),
        "deployments": [
            {"served_as": row.served_as, "at": row.created_at.isoformat(), "refreshed": row.refreshed_at is not None}
            for row in session.scalars(select(Deployment).order_by(Deployment.id))
        ],
    }


def _run(session: Session, run: TrainingRun, settings: Settings) -> dict[str, Any]:
    version = session.scalar(select(ModelVersion).where(ModelVersion.training_run_id == run.id))
    dataset = session.get(Dataset, run.dataset_id) if run.dataset_id else None
    decision = session.get(Decision, run.decision_id) if run.decision_id else None
    gate = session.get(Decision, run.gate_decision_id) if run.gate_decision_id else None
    return {
        "id": run.id,
        "status": run.status,
        "cause": run.cause,
        "new_labels": run.new_labels,
        "seconds": round((run.finished_at - run.created_at).total_seconds(), 1) if run.finished_at else None,
        "at": run.created_at.isoformat(),
        "policy": decision.reasons if decision else None,
        "gate": gate.reasons if gate else None,
        "dataset": _dataset(session, dataset) if dataset else None,
        "model": _model(version, settings) if version else None,
        "scores": run.metrics,
        "control": run.control,
        "rescored": _rescore(session, run, settings),
    }


def _dataset(session: Session, dataset: Dataset) -> dict[str, Any]:
    splits = select(DatasetItem.split, func.count()).where(DatasetItem.dataset_id == dataset.id).group_by(DatasetItem.split)
    return {
        "content_hash": dataset.content_hash,
        "dvc_hash": dataset.dvc_hash,
        "images": dict(session.execute(splits).tuples().all()),
    }


def _model(version: ModelVersion, settings: Settings) -> dict[str, Any]:
    data = model_path(version.onnx_uri, settings).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return {"title": version.title, "onnx_sha256": digest, "as_recorded": digest == version.onnx_sha256, "bytes": len(data)}


def _rescore(session: Session, run: TrainingRun, settings: Settings) -> dict[str, float]:
    """mAP50 of champion, challenger and control on the run's own holdout, detected anew from the ONNX files on the disk."""
    from retrain.dataset import content
    from retrain.gate import evaluate

    if run.dataset_id is None:
        return {}
    plan = content.recall(session, run.dataset_id)
    pixels = evaluate.reader(ImageStore(settings.images_dir), settings, lambda: None)
    items = plan.only("holdout")
    scored = {role: evaluate.evaluate(Detector(path), items, pixels, plan.class_map) for role, path in _models(session, run, settings)}
    return {role: round(scores.map50, 4) for role, scores in scored.items()}


def _models(session: Session, run: TrainingRun, settings: Settings) -> Iterator[tuple[str, Path]]:
    for role, identity in (("champion", run.champion_id), ("challenger", run.challenger_id)):
        version = session.get(ModelVersion, identity) if identity else None
        if version is not None:
            yield role, model_path(version.onnx_uri, settings)
            control = model_path(version.onnx_uri, settings).with_name("control.onnx")
            if role == "challenger" and control.is_file():
                yield "control", control


def _drift(session: Session) -> dict[str, Any]:
    reports = session.scalars(select(DriftReport).order_by(DriftReport.id))
    alerts = session.scalars(select(Alert).order_by(Alert.id))
    return {
        "reports": [
            {"source": row.source, "feature": row.feature, "score": row.score, "drifted": row.drifted, "at": row.created_at.isoformat()}
            for row in reports
        ],
        "alerts": [
            {"source": row.source, "feature": row.feature, "message": row.message, "at": row.raised_at.isoformat()} for row in alerts
        ],
    }


def _mlflow(settings: Settings) -> dict[str, Any]:
    """Runs by our run id, and what the alias `champion` names."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # else it tells of its tables in the midst of ours
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=settings.mlflow_uri, registry_uri=settings.mlflow_uri)
    runs = client.search_runs([entry.experiment_id for entry in client.search_experiments()], order_by=["attributes.start_time"])
    model = next(iter(client.search_registered_models(f"name = '{settings.model_name}'")), None)
    champion = (model.aliases if model else {}).get("champion")
    return {
        "runs": {run.data.tags.get("labelwheel.run", run.info.run_name): run.info.status for run in runs},
        "champion": f"{settings.model_name}@{champion}" if champion else None,
        "versions": sorted(int(version.version) for version in client.search_model_versions(f"name = '{settings.model_name}'")),
    }


def _dvc(settings: Settings, runs: list[dict[str, Any]]) -> dict[str, bool]:
    """Bring each dataset version back from DVC's cache, and hash it again."""
    from retrain.dataset import version

    root = settings.home / "datasets"
    datasets = [run["dataset"] for run in runs if run["dataset"]]
    for dataset in datasets:
        version.drop(root, dataset["content_hash"])
    restored = {dataset["content_hash"]: version.restore(root, dataset["content_hash"]) for dataset in datasets}
    return {entry["content_hash"]: version.keep(root, entry["content_hash"]) == entry["dvc_hash"] for entry in datasets if restored}


def checks(stage: Stage, found: dict[str, Any]) -> list[Check]:
    """Every claim, judged by what was found again; one that the demo did not come to is neither kept nor broken."""
    studio, database, runs = found["label_studio"], found["database"], found["training"]
    labelled = studio["annotated"] == database["labels"]
    ended = [run for run in runs if run["status"] not in ACTIVE_RUN_STATUSES]
    models = [run["model"] for run in ended if run["status"] != "failed"]
    settled = bool(runs) and ended == runs and (not found["failure"] or runs[-1]["control"] is not None)
    judged = [
        Check(
            "every chosen capture is one task",
            _if(studio["tasks"] or database["tasks"], studio["tasks"] == studio["keys"] == database["tasks"]),
            f"{studio['tasks']} tasks, {studio['keys']} keys",
        ),
        Check(
            "every submitted annotation is one label",
            _if(studio["annotated"] or database["labels"], labelled),
            f"{studio['annotated']} annotations, {database['labels']} labels",
        ),
        Check(
            "two runs, both promoted",
            _if(len(ended) >= 2 or _kept(ended), [run["status"] for run in runs] == ["promoted"] * 2),
            ", ".join(f"{r['cause']}: {r['status']}" for r in runs),
        ),
        Check(
            "no run at one label less",
            _if("held_at" in stage.seen or len(runs) > 1, "held_at" in stage.seen),
            f"{stage.seen.get('held_at', '?')} of {scenario.NEW_LABELS} labels: no run",
        ),
    ]
    if len(runs) == 2 and not found["failure"]:
        judged += _model_checks(runs[1])
    judged += [
        Check(
            "open tasks show the new version",
            _if(len(ended) >= 2, studio["open_with_current_version"] > 0),
            f"{studio['open_with_current_version']} of {studio['open']}",
        ),
        Check(
            "the models are what was recorded",
            _if(models, all(model and model["as_recorded"] for model in models)),
            "SHA-256 of the ONNX files",
        ),
        Check("MLflow knows the same runs", _if(settled, _mlflow_agrees(found)), f"alias champion → {found['mlflow'].get('champion')}"),
        Check("DVC restores each dataset", _if(ended, bool(found["dvc"]) and all(found["dvc"].values())), f"{len(found['dvc'])} versions"),
    ]
    return judged + _drift_checks(stage, found["drift"])


def _if(reached: object, holds: bool) -> bool | None:
    return holds if reached else None


def _kept(ended: list[dict[str, Any]]) -> bool:
    return any(run["status"] != "promoted" for run in ended)


def _model_checks(run: dict[str, Any]) -> list[Check]:
    scores, images = run["rescored"], run["dataset"]["images"]
    before, after, control = scores.get("champion", 0.0), scores.get("challenger", 0.0), scores.get("control", 1.0)
    stored = {role: (run["scores"].get(role) or {}).get("map50") for role in ("champion", "challenger")}
    stored["control"] = (run["control"] or {}).get("map50")
    same = all(abs((stored[role] or 0) - scores.get(role, -1)) < 1e-4 for role in stored)
    return [
        Check(
            "the holdout is large enough",
            images.get("holdout", 0) >= HOLDOUT_WANTED,
            f"{images.get('holdout', 0)} labelled images, {HOLDOUT_WANTED} wanted",
        ),
        Check("the deployed model beats the first", after > before, f"mAP50 {before:.3f} → {after:.3f} on the same holdout"),
        Check("and beats the control", after > control, f"{after:.3f} against {control:.3f} with the same updates and no new labels"),
        Check("scored again, the scores are the same", same, f"recorded {stored}"),
    ]


def _mlflow_agrees(found: dict[str, Any]) -> bool:
    """Each training and each control is one finished run there, and the alias names what serves."""
    runs, known = found["training"], found["mlflow"]
    expected = len(runs) + sum(run["control"] is not None for run in runs)
    finished = [status for status in known["runs"].values() if status == "FINISHED"]
    serving = runs[-1]["model"] if runs else None
    return len(finished) == len(known["runs"]) == expected and serving is not None and known["champion"] == serving["title"]


def _drift_checks(stage: Stage, drift: dict[str, Any]) -> list[Check]:
    dimmed = stage.scenario.acts.dimmed_source
    alerts = drift["alerts"]
    alone = [alert["source"] for alert in alerts] == [dimmed]
    first = alerts[0]["at"] if alerts else ""
    calm = [report for report in drift["reports"] if report["at"] < first]
    tested = "calm_score" in stage.seen
    return [
        Check("steady light: tested, no alert", _if(tested or alerts, len(calm) > 1 and tested), f"{len(calm)} tests before the alert"),
        Check("changed light: one alert, on that source", _if(tested or alerts, alone), f"{[alert['message'] for alert in alerts]}"),
    ]


def _count(session: Session, table: Any, *where: Any) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*where)) or 0


def _grouped(session: Session, first: Any, second: Any) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for one, other, count in session.execute(select(first, second, func.count()).group_by(first, second)):
        found.setdefault(one, {})[other] = count
    return found


def _tally(values: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for value in values:
        found[value] = found.get(value, 0) + 1
    return found
