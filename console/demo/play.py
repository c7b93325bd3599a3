"""`labelwheel demo`: one honest turn of the wheel on a running system of its own.

The director starts the system, lets the camera and the scripted annotator act through the public doors, and watches through
the same doors until each thing has happened by itself. It triggers no job and touches no table.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import requests
from filelock import FileLock, Timeout
from rich.console import Console
from rich.status import Status

from console.demo import folder, report, scenario
from console.demo.annotator import Rates, ScriptedAnnotator, Tally
from console.demo.camera import Camera
from console.demo.images import Frame
from console.demo.scenario import NEW_LABELS, Scenario
from console.demo.watch import DemoFailed, Eyes, until
from console.writing import HOME_CURE, into
from labelwheel.errors import AlreadyRunning, LabelwheelError
from labelwheel.private import write_private
from labelwheel.settings import OF_THE_HOME, PREFIX, Settings, get_settings, load_settings

screen = Console()
T = TypeVar("T")

PATIENCE = 600.0  # seconds that a training may stand still on two busy cores
TELL_SECONDS = 30.0  # between two lines on what is waited for, where there is no terminal
CALM_LOOKS = 3  # policy ticks without a run that count as "does not fire"


@dataclass
class Step:
    """One thing that was seen to happen, when (seconds since the curtain rose) and how long it took."""

    name: str
    at: float
    seconds: float
    seen: str


@dataclass
class Stage:
    """What the steps share."""

    scenario: Scenario
    settings: Settings
    eyes: Eyes
    camera: Camera
    annotator: ScriptedAnnotator
    project_id: int
    began: float
    steps: list[Step] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    seen: dict[str, Any] = field(default_factory=dict)
    status: Status | None = None
    told_at: float = 0.0

    def until(self, what: str, look: Callable[[], T | None], seconds: float, how_far: Callable[[], str] = lambda: "") -> T:
        """As `watch.until`, and tell meanwhile."""
        return until(what, look, seconds, how_far=how_far, tell=self._tell)

    def _tell(self, waiting: str) -> None:
        if screen.is_terminal and self.status:
            self.status.update(waiting)
        elif time.monotonic() - self.told_at >= TELL_SECONDS:
            self.told_at = time.monotonic()
            screen.print(f"    {waiting}", highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time a step; what it saw is appended to the list it gets."""
        start, seen = time.monotonic(), list[str]()
        if not screen.is_terminal:
            screen.print(f"  {name} …", highlight=False, soft_wrap=True)
        with screen.status(f"{name} …") as self.status:
            self.told_at = start
            yield seen
        seconds = time.monotonic() - start
        self.steps.append(Step(name, round(start - self.began, 1), round(seconds, 1), "; ".join(seen)))
        screen.print(f"[green]✓[/] {name}  [dim]{seconds:.1f} s  {'; '.join(seen)}[/]", highlight=False)


def play(data: Path | None, seed: int | None, missing_source: str | None, keep: bool) -> int:
    """Play the demo; 0 when every step was observed and every recomputed check holds. AlreadyRunning beside another one in this home."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends the demo ends its system as well
    with _alone(get_settings().home / "demo"):
        return _play(data, seed, missing_source, keep)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / "demo.lock")
    with into(folder, HOME_CURE):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise AlreadyRunning(f"A demo runs already in {folder}.", "Let it end, or give this one a folder: LABELWHEEL_HOME.") from error
    try:
        yield
    finally:
        lock.release()


def _play(data: Path | None, seed: int | None, missing_source: str | None, keep: bool) -> int:
    from console.up import start, stop

    began = time.monotonic()
    seed = secrets.randbelow(2**31) if seed is None else seed
    screen.print(f"Seed {seed}. Camera and annotator are scripts that use public doors only; everything between them is real.")
    played = _scenario(data, seed, missing_source)
    home = _prepare(played)
    failure = ""
    settings = get_settings()
    try:
        start(settings, detach=True, on_ready=_say_where)
        stage = _set_stage(played, home, began)
        try:
            _perform(stage)
        except (DemoFailed, requests.RequestException) as error:
            failure = str(error)
        code = _close(stage, failure)
        _say_what_next(stage, failure, keep)
        return code
    finally:
        if not keep:
            with screen.status("stopping …"):
                stop(load_settings(home))


def _scenario(data: Path | None, seed: int, missing_source: str | None) -> Scenario:
    try:
        with screen.status("reading frames …"):
            return scenario.from_folder(data, seed, missing_source) if data else scenario.synthetic(seed, missing_source)
    except ValueError as error:
        raise LabelwheelError(str(error), "See `labelwheel demo --help`.") from error


def _prepare(played: Scenario) -> Path:
    """A fresh home below the user's, with settings of its own whatever `.env` and the environment say: each later command there finds them."""
    from console.up import stop

    home = get_settings().home / "demo" / "system"
    if home.exists():
        stop(load_settings(home))
        shutil.rmtree(home)
    home.mkdir(parents=True)
    config = home / "label_config.xml"
    config.write_text(folder.label_config(list(played.labels)))
    own = {"LABEL_CONFIG": str(config), **played.settings}
    alone = dict.fromkeys(("DATABASE_URL", "REDIS_URL", "MLFLOW_URI", "DVC_REMOTE", "LABEL_STUDIO_URL", "LABEL_STUDIO_PUBLIC_URL"), "")
    for name in alone | own:
        os.environ.pop(PREFIX + name, None)  # what the user exported for another home
    write_private(home / OF_THE_HOME, {PREFIX + name: value for name, value in (alone | own).items()})
    os.environ[PREFIX + "HOME"] = str(home)
    get_settings.cache_clear()
    return home


def _say_where(settings: Settings) -> None:
    screen.print(
        f"  Label Studio {settings.label_studio_url}, console {settings.console_url} (logins in {settings.secrets_file})", highlight=False
    )


def _say_what_next(stage: Stage, failure: str, keep: bool) -> None:
    """Whether it runs on, and where; how to follow and how to stop it."""
    home = f"LABELWHEEL_HOME={shlex.quote(str(stage.settings.home))} labelwheel"
    if not keep:
        lines = ["It is stopped now. `labelwheel demo --keep` leaves it running, to look around."] if failure else []
    else:
        far = _still(stage)
        lines = [
            f"The system runs on{f' ({far})' if far else ''}: console {stage.settings.console_url}, "
            f"Label Studio {stage.settings.label_studio_url} (logins in {stage.settings.secrets_file}).",
            f"Follow it: `{home} conditions`. Stop it: `{home} down`.",
        ]
    for line in lines:
        screen.print(line, highlight=False, soft_wrap=True)


def _still(stage: Stage) -> str:
    try:
        return _how_far(stage)
    except requests.RequestException:
        return ""


def _set_stage(played: Scenario, home: Path, began: float) -> Stage:
    settings = load_settings(home)
    token = settings.label_studio_token.get_secret_value()
    eyes = Eyes(settings.console_url, settings.api_token.get_secret_value(), settings.label_studio_url, token)
    truth = {frame.external_id: frame.truth for frame in played.acts.frames}
    annotator = ScriptedAnnotator(settings.label_studio_url, token, truth, Rates(), played.seed)
    camera = Camera(settings.ml_backend_url, settings.api_token.get_secret_value())
    project_id = int(eyes.api("overview")["project"]["ls_project_id"])
    return Stage(played, settings, eyes, camera, annotator, project_id, began)


def _perform(stage: Stage) -> None:
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
        stats = stage.until("the first batch in Label Studio", lambda: _pushed(stage, "novelty", wanted), 120)
        seen.append(_reasons(stats))
    with stage.step("The scripted annotator labels them") as seen:
        seen.append(_label(stage, None))


def _first_model(stage: Stage) -> None:
    with stage.step("The policy fires, the first model trains from scratch and is deployed") as seen:
        run = stage.until("the first model deployed", lambda: _ended_run(stage, 1), PATIENCE, lambda: _how_far(stage))
        stage.seen["first_run"] = run["id"]
        version = stage.until("the first model in Label Studio", lambda: _pinned_or_idle(stage), 120)
        seen.append(f"run {run['id']} {run['status']}, {version}")


def _new_source_arrives(stage: Stage) -> None:
    missing = " and ".join(filter(None, (stage.scenario.missing_source, stage.scenario.missing_label)))
    with stage.step(f"The stream brings {missing}") as seen:
        answers = _film(stage, stage.scenario.acts.stream)
        seen.append(
            f"{len(answers)} captures, {_by_source(stage.scenario.acts.stream)}, {sum(len(a['detections'] or []) for a in answers)} detections"
        )
    with stage.step("Uncertain and audited captures become tasks with pre-annotations") as seen:
        stats = stage.until("enough uncertain captures in Label Studio", lambda: _pushed(stage, "low_confidence", NEW_LABELS + 8), 180)
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
            _demand(len(_runs(stage)) == 1, "a retraining started one label too early")
        stage.seen["held_at"] = given
        seen.append(f"{given} new labels, {NEW_LABELS} needed, no run in {CALM_LOOKS * stage.settings.tick_policy} s")
    with stage.step("One more label, and the policy fires by itself") as seen:
        fired_at = _label_up_to(stage, NEW_LABELS)
        run = stage.until("a second run", lambda: next((run for run in _runs(stage) if run["id"] != stage.seen["first_run"]), None), 90)
        stage.seen["second_run"] = run["id"]
        seen.append(f"{fired_at} new labels, run {run['id']} for {run['cause']}")


def _second_model(stage: Stage) -> None:
    with stage.step("Warm start with replay, gate, deployment") as seen:
        run = stage.until("the second run's end", lambda: _ended_run(stage, 2), PATIENCE, lambda: _how_far(stage))
        _demand(run["status"] == "promoted", f"the challenger was not promoted: {run['status']}")
        seen.append(f"run {run['id']} {run['status']}")
    with stage.step("Open tasks are pre-annotated again") as seen:
        version = stage.until("the new version in Label Studio", lambda: _refreshed(stage), 120)
        seen.append(version)


def _control(stage: Stage) -> None:
    with stage.step("A control has trained: the same updates without the new labels") as seen:
        look: Callable[[], Any] = lambda: next((r for r in _runs(stage) if r["id"] == stage.seen["second_run"] and _done(r)), None)  # noqa: E731
        stage.until("the control's score", look, max(PATIENCE, 4 * _second_run_seconds(stage)))
        seen.append("scored on the same holdout")


def _light_changes(stage: Stage) -> None:
    with stage.step("Every source runs on in steady light: no alert") as seen:
        _film(stage, stage.scenario.acts.calm)
        tested = stage.until("a drift test of the source that will change", lambda: _drift_series(stage), 120)
        time.sleep(2 * stage.settings.tick_drift)
        alerts = stage.eyes.api("metrics/drift")["alerts"]
        _demand(not alerts, f"an alert without a cause: {alerts}")
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
        before = len(_drift_series(stage) or [])
        try:
            return stage.until("the alert", lambda: _alert(stage), 4.0 * stage.settings.tick_drift)
        except DemoFailed:
            _demand(len(_drift_series(stage) or []) >= before, "drift reports vanished")
    return stage.until("the alert", lambda: _alert(stage), 60)


# what the director sees


def _film(stage: Stage, frames: tuple[Frame, ...] | list[Frame]) -> list[dict[str, Any]]:
    return stage.camera.stream(frames)


def _pushed(stage: Stage, reason: str, wanted: int) -> dict[str, Any] | None:
    stats: dict[str, Any] = stage.eyes.api("labeling-queue/stats")
    there = sum(count for status, count in stats["by_reason"].get(reason, {}).items() if status != "pending")
    return stats if there >= wanted and not stats["by_status"].get("pending") else None


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
        _demand(stage.annotator.open_count(stage.project_id) < before, "the open tasks ran out")
    return given


def _settled_labels(stage: Stage) -> int:
    """New training labels, once Label Studio's open tasks and our queue agree."""

    def agree() -> bool:
        stats = stage.eyes.api("labeling-queue/stats")["by_status"]
        return bool(stats.get("pushed", 0) == stage.annotator.open_count(stage.project_id))

    stage.until("the pull of all submitted annotations", agree, 60)
    return int(stage.eyes.api("retraining/status")["new_labels"])


def _runs(stage: Stage) -> list[dict[str, Any]]:
    answer = stage.eyes.api("retraining/history")
    runs: list[dict[str, Any]] = answer["runs"] if isinstance(answer, dict) else answer
    return runs


def _ended_run(stage: Stage, count: int) -> dict[str, Any] | None:
    ended = [run for run in _runs(stage) if run["status"] in ("promoted", "kept_champion", "failed", "cancelled")]
    for run in ended:
        _demand(run["status"] != "failed", f"training run {run['id']} failed: {run.get('error')}")
    return max(ended, key=lambda run: int(run["id"])) if len(ended) >= count else None


def _how_far(stage: Stage) -> str:
    """How far the active run is, in words; "" when none is under way."""
    now = stage.eyes.api("retraining/status")
    if now["run"] is None:
        return ""
    at = (next((run for run in _runs(stage) if run["id"] == now["run"]), {}).get("metrics") or {}).get("progress") or {}
    epochs = f", epoch {at['epoch']} of {at['epochs']}" if at.get("epochs") else ""
    return f"run {now['run']} {now['state']}, {now['percent']} %{epochs}"


def _second_run_seconds(stage: Stage) -> float:
    """A control tells nothing until it is done; but it makes the updates of its run."""
    run = next(run for run in _runs(stage) if run["id"] == stage.seen["second_run"])
    return (datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["created_at"])).total_seconds()


def _done(run: dict[str, Any]) -> bool:
    control = run.get("control") or {}
    _demand(control.get("state") != "failed", f"the control failed: {control}")
    return control.get("state") == "done"


def _pinned_or_idle(stage: Stage) -> str | None:
    model = stage.eyes.api("overview")["model"]
    return str(model["served_as"]) if model and model.get("refreshed_at") else None


def _refreshed(stage: Stage) -> str | None:
    version = str(stage.eyes.label_studio(f"projects/{stage.project_id}/")["model_version"])
    tasks = stage.annotator.open_tasks(stage.project_id)
    fresh = [task for task in tasks if any(entry["model_version"] == version for entry in task["predictions"])]
    served = _pinned_or_idle(stage)
    if served != version or not tasks or len(fresh) < len(tasks):
        return None
    stage.seen["refreshed_tasks"] = len(fresh)
    return f"{len(fresh)} open tasks show {version}"


def _drift_series(stage: Stage) -> list[dict[str, Any]] | None:
    sources = stage.eyes.api("metrics/drift")["sources"]
    mine = next((entry for entry in sources if entry["source"] == stage.scenario.acts.dimmed_source), None)
    series: list[dict[str, Any]] = [point for feature in mine["features"] for point in feature["series"]] if mine else []
    return series or None


def _alert(stage: Stage) -> dict[str, Any] | None:
    alerts = stage.eyes.api("metrics/drift")["alerts"]
    for alert in alerts:
        _demand(alert["source"] == stage.scenario.acts.dimmed_source, f"an alert on a source that did not change: {alert}")
    return alerts[0] if alerts else None


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoFailed(otherwise[:1].upper() + otherwise[1:] + ".")


def _by_source(frames: tuple[Frame, ...]) -> str:
    return ", ".join(f"{source} {count}" for source, count in scenario.counts(frames).items())


def _reasons(stats: dict[str, Any]) -> str:
    return ", ".join(f"{sum(by.values())} {reason}" for reason, by in sorted(stats["by_reason"].items()))


def _close(stage: Stage, failure: str) -> int:
    """Recompute the report from where the truth lies, show it, and say whether all of it holds."""
    target = stage.settings.home.parent
    with screen.status("recomputing the report from Label Studio, database, MLflow and DVC …"):
        found = report.recompute(stage, failure)
        report.save(found, target)
    report.show(found, target, screen)
    return 0 if found["ok"] else 1
