"""A run as MLflow shows it: parameters, losses by epoch, scores, the dataset and who labelled it, and the model."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from labelwheel.database.tables import Dataset, TrainingRun
from retrain.dataset.content import Plan
from retrain.run.work import Work
from retrain.training import spec
from retrain.training.spec import Result, Spec


def mirror(
    work: Work, row: TrainingRun, stored: Dataset, chosen: Plan, recipe: Spec, result: Result, metrics: dict[str, Any]
) -> tuple[str, int]:
    """Write run and model to MLflow; again changes nothing. Returns the run's id there and the model's version number."""
    registry = work.registry
    run_id = registry.run(work.key(), f"training {row.id}")
    params = {
        name: getattr(recipe, name) for name in ("updates", "batch", "epochs", "image_size", "learning_rate", "seed", "images", "warm")
    }
    params["start"] = Path(recipe.start).parent.name if recipe.warm else recipe.start
    registry.note(run_id, params, _tags(row, stored, chosen))
    registry.measure(run_id, spec.read_history(work.folder))
    finals = {name: metrics["challenger"][name] for name in ("map50", "map50_95")} | {"seconds": result.seconds}
    registry.measure(run_id, [(result.epochs, finals | {f"gate/{name}": value for name, value in metrics["gate"].items()})])
    source = registry.attach(run_id, work.models, "weights")
    return run_id, registry.register(run_id, work.settings.model_name, source, {"labelwheel.dataset": stored.content_hash})


def _tags(row: TrainingRun, stored: Dataset, chosen: Plan) -> dict[str, Any]:
    tags = {
        "cause": row.cause,
        "dataset": stored.content_hash,
        "dvc": stored.dvc_hash,
        "labels": len(chosen.items),
        "new_labels": row.new_labels,
        "reviewers": ", ".join(sorted({item.annotator for item in chosen.items})),
        "commit": _commit(),
    }
    return {f"labelwheel.{name}": value for name, value in tags.items() if value}


def _commit() -> str:
    """The git commit of our own source; empty when it was installed from a wheel."""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip()
