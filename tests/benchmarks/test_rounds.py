"""What retraining by policy buys on a labelled folder: a whole system, its annotator a script, and a test set that no gate ever sees.

    ROUNDS_DATA=folder .venv/bin/python -m pytest tests/benchmarks/test_rounds.py -s

The folder is as `labelwheel demo --data` reads it. The first model gets about a hundred training labels, each further one sixty more; the
policy starts all of them. `ROUNDS_SEED` repeats a run; `ROUNDS_UPDATES` (900) and `ROUNDS_WARM_UPDATES` (200) are the lengths of trainings.
While they run, ml_backend and Label Studio are asked for their health. The margin was stated before the first run.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests

from console.demo.annotator import Rates, ScriptedAnnotator
from console.demo.camera import Camera
from console.demo.folder import classes, label_config, read
from console.demo.images import FIRST_SHIFT, Frame
from console.demo.watch import Eyes, until
from labelwheel.settings import PREFIX, Settings, load_settings
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.detector import Detector
from labelwheel.vision.geometry import Box
from retrain.gate.precision import map50, match
from tests.fixtures import figures

DATA = os.environ.get("ROUNDS_DATA", "")
ROUNDS, TEST, FIRST, EACH, NEW = 3, 150, 200, 140, 60
MARGIN = 0.05  # mAP50 that the last champion is to be above the first model, on the test set
TRAINED = ("promoted", "kept_champion")
PATIENCE = 3600.0

SYSTEM = {
    "ARCHITECTURE": "yolo11n",
    "IMAGE_SIZE": "320",
    "FIRST_UPDATES": os.environ.get("ROUNDS_UPDATES", "900"),
    "WARM_UPDATES": os.environ.get("ROUNDS_WARM_UPDATES", "200"),
    "AUDIT_RATE": "0.35",
    "HOLDOUT_RATE": "0.9",
    "FIRST_BATCH": "95",
    "FIRST_LABELS": "155",
    "MIN_NEW_LABELS": str(NEW),
    "BUDGET_PER_DAY": "400",
    "COOLDOWN_SECONDS": "5",
    "SETTLE_SECONDS": "3",
    "LABEL_QUIET_SECONDS": "2",
    "SECOND_LOOKS_PER_DAY": "0",  # the script's tasks are counted: it is asked nothing twice
    "TRAIN_CONTROL": "true",
    "TICK_SELECT": "6",
    "TICK_PULL": "15",
    "TICK_POLICY": "4",
    "TICK_SWEEP": "4",
}

pytestmark = [pytest.mark.skipif(not DATA, reason="ROUNDS_DATA names no folder"), pytest.mark.timeout(3 * 3600)]


@dataclass
class Health:
    """Seconds that each server's /health took, with the state of the retraining then; None where it failed."""

    asked: list[tuple[str, bool, float | None]] = field(default_factory=list)
    training: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def watch(self, addresses: dict[str, str]) -> None:
        while not self.ended.wait(0.25):
            for name, url in addresses.items():
                start = time.monotonic()
                try:
                    requests.get(f"{url}/health", timeout=10).raise_for_status()
                    self.asked.append((name, self.training, time.monotonic() - start))
                except requests.RequestException:
                    self.asked.append((name, self.training, None))

    def as_dict(self) -> dict[str, Any]:
        return {name: self._of([seconds for who, training, seconds in self.asked if who == name and training]) for name in self._names()}

    def _names(self) -> list[str]:
        return sorted({name for name, _, _ in self.asked})

    @staticmethod
    def _of(seconds: Sequence[float | None]) -> dict[str, Any]:
        answered = [value for value in seconds if value is not None]
        p50, p99 = np.quantile(answered, [0.5, 0.99]) if answered else (float("nan"), float("nan"))
        worst = max(answered, default=float("nan"))
        failed = len(seconds) - len(answered)
        return {"asked": len(seconds), "failed": failed, "p50": round(p50, 4), "p99": round(p99, 4), "worst": round(worst, 3)}


@dataclass
class Plant:
    """A running system, and who works with it."""

    settings: Settings
    eyes: Eyes
    camera: Camera
    annotator: ScriptedAnnotator
    project: int
    health: Health

    def runs(self) -> list[dict[str, Any]]:
        answer = self.eyes.api("retraining/history")
        return sorted(answer["runs"] if isinstance(answer, dict) else answer, key=lambda run: run["id"])

    def ended(self, count: int) -> dict[str, Any] | None:
        """The run of this number, once it and its control have ended."""
        runs = self.runs()
        self.health.training = any(run["status"] in ("exporting", "training", "evaluating") for run in runs)
        if len(runs) < count or (run := runs[count - 1])["status"] not in (*TRAINED, "failed", "cancelled"):
            return None
        assert run["status"] in TRAINED, run
        return run if (run.get("control") or {}).get("state") != "due" else None

    def settled(self) -> bool:
        """Nothing waits for a push, and what people submitted was pulled."""
        counts = self.eyes.api("labeling-queue/stats")["by_status"]
        return not counts.get("pending") and counts.get("pushed", 0) == self.annotator.open_count(self.project)

    def label(self, before: int) -> int:
        """Label until the policy has started a run; how many tasks were done."""
        done = 0
        while len(self.runs()) <= before:
            until("the pull of all that was submitted", self.settled, 180)
            if len(self.runs()) > before:
                break
            done += self.annotator.label(self.project, 8).tasks
            time.sleep(self.settings.tick_policy + 1)
        return done


def test_retrainings_by_policy_pay(tmp_path: Path) -> None:
    seed = int(os.environ.get("ROUNDS_SEED") or secrets.randbelow(2**31))
    print(f"\nseed {seed}")
    labels, test, stream = parted(Path(DATA), seed)
    turns = []
    with system(tmp_path, labels, [*stream], seed) as plant:
        for number in range(ROUNDS + 1):
            start = FIRST + EACH * (number - 1) if number else 0
            plant.camera.stream(stream[start : FIRST + EACH * number])
            time.sleep(3 * plant.settings.tick_select)
            began = time.monotonic()
            tasks = plant.label(number)
            run = until(f"the end of run {number + 1}", lambda number=number: plant.ended(number + 1), PATIENCE, pause=1.0)
            plant.health.training = False
            turns.append({"tasks": tasks, "seconds": round(time.monotonic() - began), "run": run})
            print(f"run {run['id']} {run['status']} for {run['cause']} after {tasks} tasks, {turns[-1]['seconds']} s")
        rows = [row(plant, turn, test, labels) for turn in turns]
        health = plant.health.as_dict()
    champions = [line["test"] for line in rows if line["status"] == "promoted"]
    found = {"seed": seed, "test_images": len(test), "margin": MARGIN, "gain": round(champions[-1] - champions[0], 4), "runs": rows}
    figures.write("bench/rounds.json", found | {"health_while_training": health})
    print(*rows, health, sep="\n")
    assert len(rows) > ROUNDS
    assert {line["cause"] for line in rows[1:]} <= {"new_labels", "drift", "weak_class"}, "the policy started them"


def parted(data: Path, seed: int) -> tuple[list[str], list[Frame], list[Frame]]:
    """Labels, the test set, and the stream: the same lot for the same seed, in the order of its clock."""
    frames = read(data)
    random.Random(seed).shuffle(frames)
    stream = [replace(frame, captured_at=FIRST_SHIFT + timedelta(seconds=n)) for n, frame in enumerate(frames[TEST:])]
    assert len(stream) >= FIRST + ROUNDS * EACH, f"{len(frames)} images are too few"
    return classes(data), frames[:TEST], stream


@contextmanager
def system(home: Path, labels: list[str], frames: list[Frame], seed: int) -> Iterator[Plant]:
    """A system of its own, by the command that a user gives."""
    (home / "label_config.xml").write_text(label_config(labels))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) or name == PREFIX + "LABEL_STUDIO_COMMAND"}
    own = {"HOME": str(home), "LABEL_CONFIG": str(home / "label_config.xml"), **SYSTEM}
    environment = kept | {PREFIX + name: value for name, value in own.items()}
    command = [sys.executable, "-m", "console"]
    subprocess.run([*command, "up", "--detach"], env=environment, check=True, timeout=600)
    os.environ.update({name: value for name, value in environment.items() if name.startswith(PREFIX)})
    try:
        plant = staff(load_settings(home), frames, seed)
        addresses = {"ml_backend": plant.settings.ml_backend_url, "label_studio": plant.settings.label_studio_url}
        threading.Thread(target=plant.health.watch, args=(addresses,), daemon=True).start()
        yield plant
        plant.health.ended.set()
    finally:
        subprocess.run([*command, "down"], env=environment, check=False, timeout=180)
        for name in own:
            os.environ.pop(PREFIX + name, None)


def staff(settings: Settings, frames: list[Frame], seed: int) -> Plant:
    token, ours = settings.label_studio_token.get_secret_value(), settings.api_token.get_secret_value()
    eyes = Eyes(settings.console_url, ours, settings.label_studio_url, token)
    annotator = ScriptedAnnotator(settings.label_studio_url, token, {frame.external_id: frame.truth for frame in frames}, Rates(), seed)
    project = int(eyes.api("overview")["project"]["ls_project_id"])
    return Plant(settings, eyes, Camera(settings.ml_backend_url, ours), annotator, project, Health())


def row(plant: Plant, turn: dict[str, Any], test: Sequence[Frame], labels: Sequence[str]) -> dict[str, Any]:
    """One line of the table. Scores `holdout` are the gate's own; `test` and `control_test` are of images that it never saw."""
    run = turn["run"]
    (models,) = (plant.settings.home / "models").glob(f"run-*-{run['id']}")
    scores = run.get("scores") or run.get("metrics") or {}
    holdout = {name: (scores.get(name) or {}).get("map50") for name in ("champion", "challenger")}
    control = models / "control.onnx"
    return {
        "run": run["id"],
        "cause": run["cause"],
        "status": run["status"],
        "tasks": turn["tasks"],
        "new_labels": run["new_labels"],
        "seconds": turn["seconds"],
        "training_seconds": (scores.get("training") or {}).get("seconds"),
        "train_images": (scores.get("training") or {}).get("images"),
        "holdout_images": (scores.get("challenger") or {}).get("images"),
        "holdout": holdout,
        "test": scored(models / "model.onnx", test, labels),
        "control_test": scored(control, test, labels) if control.exists() else None,
    }


def scored(onnx: Path, test: Sequence[Frame], labels: Sequence[str]) -> float:
    """mAP50 of a model as it serves."""
    detector = Detector(onnx)
    seen = [detector.detect(cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)).detections for frame in test]
    truth = [[LabelledBox(box.label, Box(box.x1, box.y1, box.x2, box.y2)) for box in frame.truth] for frame in test]
    return round(float(map50(match(truth, seen, labels), np.ones((1, len(test))))[0]), 4)
