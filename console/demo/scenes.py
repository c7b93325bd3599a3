"""The scenes of the demo in their order: camera and scripted annotator act, then each thing must happen by itself."""

from __future__ import annotations

import time
from typing import Any

from console.demo import scenario, sights
from console.demo.images import Frame
from console.demo.scenario import NEW_LABELS
from console.demo.stage import Stage
from console.demo.watch import DemoFailed, demand

PATIENCE = 600.0  # seconds that a training may stand still on two busy cores
CALM_LOOKS = 3  # policy ticks without a run that count as "does not fire"


def perform(stage: Stage) -> None:
    """Play one after the other; DemoFailed at the first thing that is not seen, or that must not be."""
    _cold_start(stage)
    _first_model(stage)
    _new_source_arrives(stage)
    _policy_waits_then_fires(stage)
    _second_model(stage)
    _light_changes(stage)  # while the control trains
    _control(stage)


def _cold_start(stage: Stage) -> None:
    with stage.step("The camera starts: no model yet") as seen:
        _film(stage, stage.scenario.acts.cold)
        seen.append(f"{len(stage.scenario.acts.cold)} captures, {_by_source(stage.scenario.acts.cold)}")
    with stage.step("A diverse first batch and the audits become tasks") as seen:
        wanted = int(stage.scenario.settings["FIRST_BATCH"])
        stats = stage.until("the first batch in Label Studio", lambda: sights.pushed(stage, "novelty", wanted), 120)
        seen.append(_reasons(stats))
    with stage.step("The scripted annotator labels them") as seen:
        seen.append(_label(stage, None))


def _first_model(stage: Stage) -> None:
    with stage.step("The policy fires, the first model trains from scratch and is deployed") as seen:
        run = stage.until("the first model deployed", lambda: sights.ended_run(stage, 1), PATIENCE, lambda: sights.how_far(stage))
        stage.seen["first_run"] = run["id"]
        version = stage.until("the first model in Label Studio", lambda: sights.served_as(stage), 120)
        seen.append(f"run {run['id']} {run['status']}, {version}")


def _new_source_arrives(stage: Stage) -> None:
    missing = " and ".join(filter(None, (stage.scenario.missing_source, stage.scenario.missing_label)))
    with stage.step(f"The stream brings {missing}") as seen:
        answers = _film(stage, stage.scenario.acts.stream)
        seen.append(
            f"{len(answers)} captures, {_by_source(stage.scenario.acts.stream)}, {sum(len(a['detections'] or []) for a in answers)} detections"
        )
    with stage.step("Uncertain and audited captures become tasks with pre-annotations") as seen:
        stats = stage.until(
            "enough uncertain captures in Label Studio", lambda: sights.pushed(stage, "low_confidence", NEW_LABELS + 8), 180
        )
        tasks = stage.annotator.open_tasks(stage.project_id)
        shown = [task for task in tasks if task["predictions"]]
        if not shown:
            raise DemoFailed("No open task carries a pre-annotation.")
        stage.seen["stream_stats"] = stats
        seen.append(f"{_reasons(stats)}; {len(shown)} of {len(tasks)} open tasks pre-annotated")


def _policy_waits_then_fires(stage: Stage) -> None:
    with stage.step("The scripted annotator stops one label short, and the policy waits") as seen:
        audits = [task for task in stage.annotator.open_tasks(stage.project_id) if task["data"]["reason"] == "audit"]
        seen.append(_label(stage, len(audits)))  # they stand first; nearly all are holdout, which the policy does not count
        given = _label_up_to(stage, NEW_LABELS - 1)
        for _ in range(CALM_LOOKS):
            time.sleep(stage.settings.tick_policy)
            demand(len(sights.runs(stage)) == 1, "a retraining started one label too early")
        stage.seen["held_at"] = given
        seen.append(f"{given} new labels, {NEW_LABELS} needed, no run in {CALM_LOOKS * stage.settings.tick_policy} s")
    with stage.step("One more label, and the policy fires by itself") as seen:
        fired_at = _label_up_to(stage, NEW_LABELS)
        run = stage.until(
            "a second run", lambda: next((run for run in sights.runs(stage) if run["id"] != stage.seen["first_run"]), None), 90
        )
        stage.seen["second_run"] = run["id"]
        seen.append(f"{fired_at} new labels, run {run['id']} for {run['cause']}")


def _second_model(stage: Stage) -> None:
    with stage.step("Warm start with replay, gate, deployment") as seen:
        run = stage.until("the second run's end", lambda: sights.ended_run(stage, 2), PATIENCE, lambda: sights.how_far(stage))
        demand(run["status"] == "promoted", f"the challenger was not promoted: {run['status']}")
        seen.append(f"run {run['id']} {run['status']}")
    with stage.step("Open tasks are pre-annotated again") as seen:
        version = stage.until("the new version in Label Studio", lambda: sights.refreshed(stage), 120)
        seen.append(version)


def _control(stage: Stage) -> None:
    with stage.step("A control has trained: the same updates without the new labels") as seen:
        stage.until("the control's score", lambda: sights.control_done(stage), max(PATIENCE, 4 * sights.second_run_seconds(stage)))
        seen.append("scored on the same holdout")


def _light_changes(stage: Stage) -> None:
    with stage.step("Every source runs on in steady light: no alert") as seen:
        _film(stage, stage.scenario.acts.calm)
        tested = stage.until("a drift test of the source that will change", lambda: sights.drift_series(stage), 120)
        time.sleep(2 * stage.settings.tick_drift)
        alerts = stage.eyes.api("metrics/drift")["alerts"]
        demand(not alerts, f"an alert without a cause: {alerts}")
        stage.seen["calm_score"] = tested[-1]["score"]
        seen.append(f"score {tested[-1]['score']} on {stage.scenario.acts.dimmed_source}, 0 alerts")
    with stage.step(f"{stage.scenario.acts.dimmed_source} loses light, and the alert is raised") as seen:
        alert = _dim(stage)
        stage.seen["alert"] = alert
        seen.append(alert["message"])


def _dim(stage: Stage) -> dict[str, Any]:
    """The light changes for good: the camera goes on in portions, until the windows are full of it."""
    dark = list(stage.scenario.acts.dark)
    portion = max(stage.settings.drift_window // 2, 1)
    for start in range(0, len(dark), portion):
        _film(stage, dark[start : start + portion])
        before = len(sights.drift_series(stage) or [])
        try:
            return stage.until("the alert", lambda: sights.alert(stage), 4.0 * stage.settings.tick_drift)
        except DemoFailed:
            demand(len(sights.drift_series(stage) or []) >= before, "drift reports vanished")
    return stage.until("the alert", lambda: sights.alert(stage), 60)


def _film(stage: Stage, frames: tuple[Frame, ...] | list[Frame]) -> list[dict[str, Any]]:
    return stage.camera.stream(frames)


def _label(stage: Stage, limit: int | None) -> str:
    tally = stage.annotator.label(stage.project_id, limit)
    stage.tally += tally
    boxes = f"{tally.kept} boxes kept, {tally.moved} moved, {tally.relabelled} relabelled, {tally.deleted} deleted, {tally.added} added"
    return f"{tally.tasks} tasks, {tally.skipped} skipped: {boxes}"


def _label_up_to(stage: Stage, wanted: int) -> int:
    """Label in portions that cannot overshoot (a task gives one training label at most), each after the last was pulled."""
    while (given := _settled_labels(stage)) < wanted:
        before = stage.annotator.open_count(stage.project_id)
        _label(stage, wanted - given)
        demand(stage.annotator.open_count(stage.project_id) < before, "the open tasks ran out")
    return given


def _settled_labels(stage: Stage) -> int:
    """New training labels, once Label Studio's open tasks and our queue agree."""

    def agree() -> bool:
        stats = stage.eyes.api("labeling-queue/stats")["by_status"]
        return bool(stats.get("pushed", 0) == stage.annotator.open_count(stage.project_id))

    stage.until("the pull of all submitted annotations", agree, 60)
    return int(stage.eyes.api("retraining/status")["new_labels"])


def _by_source(frames: tuple[Frame, ...]) -> str:
    return ", ".join(f"{source} {count}" for source, count in scenario.counts(frames).items())


def _reasons(stats: dict[str, Any]) -> str:
    return ", ".join(f"{sum(by.values())} {reason}" for reason, by in sorted(stats["by_reason"].items()))
