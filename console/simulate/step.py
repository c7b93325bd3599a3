"""One training of a simulation and what is looked at afterwards, as JSON files in a folder named by its content.

A step that was done is never done again: its key is the hash of all that its result depends on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from console.simulate.stock import Photo, photo_as_dict, photo_from_dict
from labelwheel.vision.detection import Detection
from retrain.training.spec import Spec

FORM = 1  # of the files; a change makes every step due again
STEP, OUTCOME, WEIGHTS = "step.json", "outcome.json", "model.pt"
LATER = ("augmentations", "freeze")  # of a spec: came later, and change no step that does without
ELSEWHERE = ("folder", "data", "start", "threads", "nice")  # of a spec: where and how fast, not what


@dataclass(frozen=True)
class Step:
    """Train on some photographs, score on others, look at a pool (and at what is labelled).

    `start` is the key of the step whose weights it goes on from, or "". The spec's paths are filled in where it is worked; the rest of it
    is `retrain.training.recipe.recipe_for`'s.
    """

    title: str
    start: str
    spec: Spec
    labels: tuple[str, ...]
    train: tuple[Photo, ...]
    test: tuple[Photo, ...] = ()
    pool: tuple[Photo, ...] = ()

    @property
    def key(self) -> str:
        """SHA-256 of all that decides the outcome."""
        recipe = {name: value for name, value in asdict(self.spec).items() if name not in ELSEWHERE and (value or name not in LATER)}
        architecture = "" if self.start else self.spec.start
        sets = [[photo.key for photo in photos] for photos in (self.train, self.test, self.pool)]
        content = [FORM, self.start, architecture, recipe, self.labels, *sets]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the model found on a photograph, and the photograph's embedding."""

    detections: tuple[Detection, ...]
    embedding: tuple[float, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """A finished step. `scores` are those of `retrain.gate.evaluate` (empty without a test set), `seen` is by the key of the pool's photos."""

    key: str
    updates: int
    seconds: float
    scores: Mapping[str, Any] = field(default_factory=dict)
    seen: Mapping[str, Seen] = field(default_factory=dict)


def folder_of(root: Path, key: str) -> Path:
    return root / "steps" / key


def write_step(folder: Path, step: Step) -> None:
    """Leave the step where a worker reads it."""
    sets = {name: [photo_as_dict(photo) for photo in photos] for name, photos in _sets(step).items()}
    _write(folder / STEP, {"title": step.title, "start": step.start, "spec": asdict(step.spec), "labels": step.labels, **sets})


def read_step(folder: Path) -> Step:
    """Inverse of `write_step`."""
    data = json.loads((folder / STEP).read_text())
    sets = {name: tuple(map(photo_from_dict, data[name])) for name in ("train", "test", "pool")}
    return Step(data["title"], data["start"], Spec(**data["spec"]), tuple(data["labels"]), **sets)


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Record that the step is done; the last thing that is written of it."""
    seen = {key: [[item.as_dict() for item in found.detections], found.embedding] for key, found in outcome.seen.items()}
    _write(folder / OUTCOME, {**asdict(outcome), "seen": seen})


def read_outcome(folder: Path) -> Outcome | None:
    """The outcome of a finished step, else None."""
    path = folder / OUTCOME
    if not path.is_file():
        return None
    data = json.loads(path.read_text())
    seen = {key: Seen(tuple(map(Detection.from_dict, found)), tuple(embedding)) for key, (found, embedding) in data.pop("seen").items()}
    return Outcome(**data, seen=seen)


def _sets(step: Step) -> dict[str, Sequence[Photo]]:
    return {"train": step.train, "test": step.test, "pool": step.pool}


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(value))
    draft.replace(path)
