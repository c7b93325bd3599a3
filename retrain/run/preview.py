"""What a training would be if it were started now. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import Project, TrainingRun
from labelwheel.project import current_class_map
from labelwheel.settings import Settings
from retrain.dataset import content, labels
from retrain.policy import conditions
from retrain.training.asked import Spell, read_asked
from retrain.training.recipe import recipe_for
from retrain.training.start import start_asked


def preview(session: Session, project: Project, settings: Settings, request: Mapping[str, Any], spell: Spell = str) -> dict[str, Any]:
    """Start, updates, estimated seconds, images by split, boxes by class and images by source, and the policy's `conditions`.

    Raises what asking for the run would raise: InputError for a request that cannot be met, DatasetError without labels. `spell` is how
    the door calls its fields.
    """
    asked = read_asked(request, spell)
    start = start_asked(session, project.id, asked, settings.model_name, spell)
    classes = current_class_map(session, project.id)
    chosen = content.plan(session, project.id, classes, replay=settings.replay if start.replays else None, seed=0)
    images = len(chosen.only("train", "replay"))
    weights = start.version.weights_uri if start.version else None
    recipe = recipe_for(settings, Path(), Path(), images, weights, 0, asked)
    used = labels.consumed(session, project.id)
    return {
        "start": start.version.title if start.version else f"scratch ({recipe.start.removesuffix('.yaml')})",
        "updates": recipe.updates_made,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch,
        "image_size": recipe.image_size,
        **estimate(_runs(session, project.id), recipe.updates_made, warm=recipe.warm),
        "new_labels": sum(item.label_id not in used for item in chosen.only("train")),
        "images": dict(sorted(Counter(item.split for item in chosen.items).items())),
        "by_class": _table((box.label, item.split) for item in chosen.items for box in item.boxes),
        "by_source": _table((item.source, item.split) for item in chosen.items),
        "background": sum(not item.boxes for item in chosen.items),
        "excluded": len(chosen.excluded),
        "conditions": conditions(session, project, settings),
    }


def estimate(runs: Sequence[Mapping[str, Any]], updates: int, *, warm: bool) -> dict[str, Any]:
    """`seconds` that so many updates take at the pace of the newest of these trainings, one of the same start if there is one. Pure.

    `paced_by` is its run; both are None while nothing was trained.
    """
    timed = [run for run in runs if run["updates"] and run["seconds"]]
    alike = [run for run in timed if run["warm"] == warm] or timed
    if not alike:
        return {"seconds": None, "paced_by": None}
    return {"seconds": round(alike[-1]["seconds"] / alike[-1]["updates"] * updates), "paced_by": alike[-1]["run"]}


def _runs(session: Session, project_id: int) -> list[dict[str, Any]]:
    """Trainings that were not resumed: their seconds are those of all updates."""
    query = select(TrainingRun).where(TrainingRun.project_id == project_id).order_by(TrainingRun.id)
    found = [(run.id, (run.metrics or {}).get("training") or {}) for run in session.scalars(query)]
    return [
        {"run": run_id, "updates": took.get("updates"), "seconds": took.get("seconds"), "warm": bool(took.get("warm"))}
        for run_id, took in found
        if not took.get("resumed")
    ]


def _table(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Name → split → how many."""
    found: dict[str, Counter[str]] = {}
    for name, split in pairs:
        found.setdefault(name, Counter())[split] += 1
    return {name: dict(sorted(counts.items())) for name, counts in sorted(found.items())}
