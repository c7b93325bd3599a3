"""Every dataset version: what it holds, on which holdout it judges, and which runs used it. Reads only."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import ClassMap, Dataset, TrainingRun
from labelwheel.errors import InputError, NotFoundError

SHORT = 12  # of a hash, for people
LEAST = 4


def listing(session: Session, project_id: int) -> list[dict[str, Any]]:
    """Versions, newest first, as JSON-ready rows. Scores compare only where `holdout` is the same."""
    runs: dict[int, list[int]] = {}
    for run_id, dataset_id in session.execute(
        select(TrainingRun.id, TrainingRun.dataset_id).where(TrainingRun.project_id == project_id, TrainingRun.dataset_id.is_not(None))
    ).tuples():
        runs.setdefault(dataset_id or 0, []).append(run_id)
    rows = session.scalars(select(Dataset).where(Dataset.project_id == project_id).order_by(Dataset.id.desc()))
    return [
        {
            "version": row.content_hash[:SHORT],
            "created_at": row.created_at.isoformat(timespec="seconds"),
            **{split: row.counts.get("images", {}).get(split, 0) for split in ("train", "replay", "holdout")},
            "quarantined": row.counts.get("quarantined", 0),
            "holdout version": (row.holdout or "")[:SHORT],
            "runs": ", ".join(map(str, runs.get(row.id, []))),
        }
        for row in rows
    ]


def find(session: Session, project_id: int, prefix: str) -> Dataset:
    """The version whose hash begins so. Raises InputError or NotFoundError."""
    if len(prefix) < LEAST:
        raise InputError(f"{prefix!r} is too short.", f"Give {LEAST} characters of its hash or more.")
    query = select(Dataset).where(Dataset.project_id == project_id, Dataset.content_hash.startswith(prefix, autoescape=True))
    found = list(session.scalars(query.limit(2)))
    if not found:
        raise NotFoundError(f"There is no dataset version {prefix}.", "See `labelwheel dataset list`.")
    if len(found) > 1:
        raise InputError(f"Several dataset versions begin with {prefix}.", "Give more of the hash.")
    return found[0]


def describe(session: Session, row: Dataset) -> dict[str, Any]:
    """All that is known of a version."""
    classes = session.get_one(ClassMap, row.class_map_id)
    runs = session.scalars(select(TrainingRun.id).where(TrainingRun.dataset_id == row.id).order_by(TrainingRun.id))
    return {
        "version": row.content_hash,
        "dvc": row.dvc_hash,
        "holdout": row.holdout,
        "created_at": row.created_at.isoformat(timespec="seconds"),
        "class_map": classes.version,
        "classes": classes.labels,
        "runs": list(runs),
        "counts": row.counts,
    }
