"""What the director watches for on the running system: each sight is a question to the public doors, None or False while it is not there.

What must not be seen (a run that failed, an alert where nothing changed) ends the demo: DemoFailed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from console.demo.stage import Stage
from console.demo.watch import demand


def pushed(stage: Stage, reason: str, wanted: int) -> dict[str, Any] | None:
    """The queue's numbers, once so many items chosen for this reason are tasks and no item waits to become one."""
    stats: dict[str, Any] = stage.eyes.api("labeling-queue/stats")
    there = sum(count for status, count in stats["by_reason"].get(reason, {}).items() if status != "pending")
    return stats if there >= wanted and not stats["by_status"].get("pending") else None


def runs(stage: Stage) -> list[dict[str, Any]]:
    """Every training run, as `/api/retraining/history` answers it."""
    answer = stage.eyes.api("retraining/history")
    runs: list[dict[str, Any]] = answer["runs"] if isinstance(answer, dict) else answer
    return runs


def ended_run(stage: Stage, count: int) -> dict[str, Any] | None:
    """The newest run that has ended, once so many have; none may have failed."""
    ended = [run for run in runs(stage) if run["status"] in ("promoted", "kept_champion", "failed", "cancelled")]
    for run in ended:
        demand(run["status"] != "failed", f"training run {run['id']} failed: {run.get('error')}")
    return max(ended, key=lambda run: int(run["id"])) if len(ended) >= count else None


def how_far(stage: Stage) -> str:
    """How far the active run is, in words; "" when none is under way."""
    now = stage.eyes.api("retraining/status")
    if now["run"] is None:
        return ""
    at = (next((run for run in runs(stage) if run["id"] == now["run"]), {}).get("metrics") or {}).get("progress") or {}
    epochs = f", epoch {at['epoch']} of {at['epochs']}" if at.get("epochs") else ""
    return f"run {now['run']} {now['state']}, {now['percent']} %{epochs}"


def second_run_seconds(stage: Stage) -> float:
    """A control tells nothing until it is done; but it makes the updates of its run."""
    run = next(run for run in runs(stage) if run["id"] == stage.seen["second_run"])
    return (datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["created_at"])).total_seconds()


def control_done(stage: Stage) -> bool:
    """Whether the control of the second run has been scored."""
    run = next((run for run in runs(stage) if run["id"] == stage.seen["second_run"]), {})
    control = run.get("control") or {}
    demand(control.get("state") != "failed", f"the control failed: {control}")
    return control.get("state") == "done"


def served_as(stage: Stage) -> str | None:
    """The version of the model that is served, once the open tasks were refreshed for it."""
    model = stage.eyes.api("overview")["model"]
    return str(model["served_as"]) if model and model.get("refreshed_at") else None


def refreshed(stage: Stage) -> str | None:
    """How many open tasks show the served version, in words, once it is pinned in Label Studio and all of them do."""
    version = str(stage.eyes.label_studio(f"projects/{stage.project_id}/")["model_version"])
    tasks = stage.annotator.open_tasks(stage.project_id)
    fresh = [task for task in tasks if any(entry["model_version"] == version for entry in task["predictions"])]
    if served_as(stage) != version or not tasks or len(fresh) < len(tasks):
        return None
    stage.seen["refreshed_tasks"] = len(fresh)
    return f"{len(fresh)} open tasks show {version}"


def drift_series(stage: Stage) -> list[dict[str, Any]] | None:
    """What was tested of the source that loses its light, once anything was."""
    sources = stage.eyes.api("metrics/drift")["sources"]
    mine = next((entry for entry in sources if entry["source"] == stage.scenario.acts.dimmed_source), None)
    series: list[dict[str, Any]] = [point for feature in mine["features"] for point in feature["series"]] if mine else []
    return series or None


def alert(stage: Stage) -> dict[str, Any] | None:
    """The alert on the source that lost its light; none may be on another."""
    alerts = stage.eyes.api("metrics/drift")["alerts"]
    for alert in alerts:
        demand(alert["source"] == stage.scenario.acts.dimmed_source, f"an alert on a source that did not change: {alert}")
    return alerts[0] if alerts else None
