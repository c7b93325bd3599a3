"""Run the trainer as a child process: watch it, pass on its progress, and kill it when nobody wants it any more."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from labelwheel.errors import TrainingError
from retrain.training import spec as files
from retrain.training import words
from retrain.training.spec import Progress, Result, Spec

POLL_SECONDS = 1.0
ROOT = Path(__file__).resolve().parents[2]


class Cancelled(TrainingError):
    """The run was ended from outside; not a failure."""


def launch(spec: Spec, wanted: Callable[[Progress | None], bool]) -> Result:
    """Train in a child process and return its result; at once if it was there already.

    `wanted` is called about every second with the newest progress; when it returns False the trainer and its children are
    killed and Cancelled is raised. Raises TrainingError with the trainer's last words if it dies. Ask again to resume.
    """
    folder = Path(spec.folder)
    if files.read_result(folder) is None:
        files.write(folder / files.SPEC, spec)
        _watch(folder, spec.threads, wanted)
    result = files.read_result(folder)
    if result is None:
        raise TrainingError("The trainer ended without a result.", f"Read {folder / files.LOG}.")
    return result


def threads(wanted: int) -> int:
    """Torch threads for a setting where 0 means all cores but one: webhooks and Label Studio's health check need that one.

    Threads that share a core with others wait for each other at every layer: on two busy cores one thread is the fastest.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return wanted or max(1, cores - 1)


def _start(folder: Path, count: int) -> subprocess.Popen[bytes]:
    with (folder / files.LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "retrain.training.train", str(folder), str(os.getpid())],
            cwd=folder,
            env=environment(folder, count),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its own process group, so that a kill reaches all of it
        )


def environment(folder: Path, count: int) -> dict[str, str]:
    """The trainer's environment: offline, quiet, with a configuration folder of its own, and without our secrets."""
    return quiet(folder, count, {name: value for name, value in os.environ.items() if not name.startswith("LABELWHEEL_")})


def quiet(folder: Path, count: int, kept: dict[str, str]) -> dict[str, str]:
    """The variables `kept`, and those that keep torch and ultralytics offline, silent and to `count` threads."""
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    return kept | {
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": str(count),
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "YOLO_CONFIG_DIR": str(_configuration(folder)),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def _configuration(folder: Path) -> Path:
    """A configuration folder with the font that ultralytics would fetch from the network at each start."""
    from importlib.util import find_spec

    root = folder / "config"
    (root / "Ultralytics").mkdir(parents=True, exist_ok=True)
    found = find_spec("matplotlib")
    if found and found.origin:
        font = Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
        for name in ("Arial.ttf", "Arial.Unicode.ttf"):
            shutil.copyfile(font, root / "Ultralytics" / name)
    return root


def _watch(folder: Path, count: int, wanted: Callable[[Progress | None], bool]) -> None:
    log = folder / files.LOG
    since = log.stat().st_size if log.is_file() else 0  # what an earlier trainer said there is not why this one ended
    child = _start(folder, count)
    try:
        while child.poll() is None:
            if not wanted(files.read_progress(folder)):
                raise Cancelled("The training was cancelled.")
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(POLL_SECONDS)
    finally:
        _kill(child)
    if child.returncode:
        last = words.said(log, since)
        raise TrainingError(f"The trainer {words.ending(child.returncode)}{': ' if last else '.'}{last}", f"Read {log}.")


def _kill(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
