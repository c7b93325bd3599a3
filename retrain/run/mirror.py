"""A run as MLflow shows it: parameters, losses by epoch, scores, the dataset and who labelled it, and the model."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from labelwheel.database.tables import Dataset, TrainingRun
from retrain.dataset.content import Plan
from retrain.gate.evaluate import Scores
from retrain.run.attempts import Waits
from retrain.run.pictures import draw
from retrain.run.work import Work
from retrain.training import spec
from retrain.training.spec import Result, Spec
from retrain.training.train import recipe as augmented

LABELS = "labels.json"


class NoRegistry(Waits):
    """Until MLflow is there again: a finished training is worth more than the time that it is away."""


def begin(work: Work, row: TrainingRun) -> str:
    """Id of the run in MLflow, which is made at the first time. Raises NoRegistry."""
    with reaching("run"):
        return work.registry.run(work.key(), f"training {row.id}")


def mirror(
    work: Work,
    row: TrainingRun,
    stored: Dataset,
    chosen: Plan,
    recipe: Spec,
    result: Result,
    metrics: dict[str, Any],
    scores: Scores | None,
) -> tuple[str, int]:
    """Write run and model to MLflow; again changes nothing. Returns the run's id there and the model's version number. Raises NoRegistry."""
    history, run_id = spec.read_history(work.folder), begin(work, row)
    draw(work.folder / "plots", history, scores)
    finals = {name: metrics["challenger"][name] for name in ("map50", "map50_95")} | {"seconds": result.seconds}
    finals |= {f"gate/{name}": value for name, value in metrics["gate"].items()}
    with reaching("run"):
        registry = work.registry
        registry.note(run_id, _params(row, recipe), _tags(row, stored, chosen))
        registry.keep(run_id, provenance(stored, chosen), LABELS)
        registry.measure(run_id, [*history, (result.epochs, finals)])
        registry.attach(run_id, work.folder / "plots", "plots")
        source = registry.attach(run_id, work.models, "weights")
        return run_id, registry.register(run_id, work.settings.model_name, source, {"labelwheel.dataset": stored.content_hash})


@contextmanager
def reaching(what: str) -> Iterator[None]:
    """A run, or its control, is told to MLflow within. Raises NoRegistry."""
    try:
        yield
    except Exception as error:  # MLflow's stores raise errors of many packages
        cure = f"See LABELWHEEL_MLFLOW_URI; the {what} then goes on by itself."
        more = " `labelwheel cancel` gives its model up." if what == "run" else ""
        raise NoRegistry(f"MLflow did not take the {what}, which is trained and waits: {error}", cure + more) from error


def _params(row: TrainingRun, recipe: Spec) -> dict[str, Any]:
    """The whole recipe, as it was asked for and as ultralytics got it."""
    start = (row.metrics.get("start") or {}).get("title") or Path(recipe.start).name
    ours = {"start": start, "updates": recipe.updates, "images": recipe.images, "warm": recipe.warm, "threads": recipe.threads}
    told = {name: value for name, value in augmented(recipe).items() if name not in ("data", "project", "name", "cache")}
    return {**{f"ultralytics/{name}": value for name, value in told.items()}, **ours, **_named(recipe)}


def _named(recipe: Spec) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in ("batch", "epochs", "image_size", "learning_rate", "seed")}


def _tags(row: TrainingRun, stored: Dataset, chosen: Plan) -> dict[str, Any]:
    tags = {
        "cause": row.cause,
        "dataset": stored.content_hash,
        "dvc": stored.dvc_hash,
        "holdout": stored.holdout,
        "labels": len(chosen.items),
        "new_labels": row.new_labels,
        "reviewers": ", ".join(sorted({item.annotator for item in chosen.items})),
        "commit": _commit(),
        "versions": ", ".join(f"{name} {_version(name)}" for name in ("labelwheel", "ultralytics", "torch")),
        **{f"asked.{name}": value for name, value in row.request.items()},
    }
    return {f"labelwheel.{name}": value for name, value in tags.items() if value}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a folder
        return "?"


def provenance(stored: Dataset, chosen: Plan) -> dict[str, Any]:
    """What the model learned from and is judged on, and whom we owe it to: every label by its id, with image, split, annotator and approver."""
    columns = ("label_id", "sha256", "split", "task", "annotator", "approved_by")
    people = Counter(item.annotator for item in chosen.items)
    return {
        "dataset": stored.content_hash,
        "dvc": stored.dvc_hash,
        "holdout": stored.holdout,
        "classes": chosen.class_map.as_dict(),
        "counts": chosen.counts(),
        "annotators": dict(sorted(people.items())),
        "labels": [{name.removesuffix("_id"): getattr(item, name) for name in columns} for item in chosen.items],
    }


def _commit() -> str:
    """The git commit of our own source; empty when it was installed from a wheel."""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip()
