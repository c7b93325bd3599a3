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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from filelock import FileLock, Timeout

from console.demo import folder, report, scenario, sights
from console.demo.annotator import Rates, ScriptedAnnotator
from console.demo.camera import Camera
from console.demo.scenario import Scenario
from console.demo.scenes import perform
from console.demo.stage import Stage
from console.demo.tell import screen
from console.demo.watch import DemoFailed, Eyes
from console.writing import HOME_CURE, into
from labelwheel.errors import AlreadyRunning, LabelwheelError
from labelwheel.private import write_private
from labelwheel.settings import OF_THE_HOME, PREFIX, Settings, get_settings, load_settings


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
            perform(stage)
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
        return sights.how_far(stage)
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


def _close(stage: Stage, failure: str) -> int:
    """Recompute the report from where the truth lies, show it, and say whether all of it holds."""
    target = stage.settings.home.parent
    with screen.status("recomputing the report from Label Studio, database, MLflow and DVC …"):
        found = report.recompute(stage, failure)
        report.save(found, target)
    report.show(found, target, screen)
    return 0 if found["ok"] else 1
