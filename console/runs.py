"""`labelwheel runs`: every training, what called for it, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer

from console.screen import AsJson, Limit, ago, show, with_project

EMPTY = "Nothing was trained here yet. `labelwheel conditions` says what calls for the first training."


def runs(limit: Limit = 20, as_json: AsJson = False) -> None:
    """Show the trainings, newest first: where each stands, what called for it, its new labels, the gate's verdict, mAP50 before and after.

    Its number is what `receipt` and `cancel` ask for. With --json also its recipe, scores and losses.

    Example: labelwheel runs --limit 5
    """
    from retrain.run.status import history

    found = with_project(lambda session, project, _: history(session, project, limit + 1))
    if as_json:
        typer.echo(json.dumps(found[:limit], indent=2))
        return
    show([row(run) for run in found], False, empty=EMPTY, limit=limit)


def row(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run of the history as a line of a table. Pure but for the clock that `when` is told by."""
    return {
        "run": run["id"],
        "state": run["status"].replace("_", " "),
        "cause": ", ".join([run["cause"], *(f"{kind} {name}" for kind, name in (run["slice"] or {}).items())]),
        "when": ago(run["finished_at"] or run["created_at"]),
        "new labels": run["new_labels"],
        "gate": run["gate"]["verdict"] if run["gate"] else None,
        "mAP50": gained(run["metrics"] or {}),
    }


def gained(metrics: Mapping[str, Any]) -> str:
    """mAP50 of the champion → of the new model, on one holdout; "" where none was scored, "none" for a first model's champion."""
    before, after = (metrics.get(role) or {} for role in ("champion", "challenger"))
    if "map50" not in after:
        return ""
    where = "" if metrics.get("judged_on", "holdout") == "holdout" else " (on training images)"
    return f"{before['map50']:.3f} → {after['map50']:.3f}{where}" if "map50" in before else f"none → {after['map50']:.3f}{where}"
