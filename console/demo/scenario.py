"""What the demo plays: which frames arrive when, and the settings of the small system that it plays on."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from console.demo.folder import classes, read
from console.demo.images import FIRST_SHIFT, LABELS, SOURCES, Frame, SyntheticPlant, darken
from labelwheel.settings import PREFIX

COLD_FRAMES = 240
STREAM_FRAMES = 270
CALM_FRAMES = 60
DARK_FRAMES = 75
FEWEST_DARK = 50  # more than a window of drift
FEWEST_FRAMES = COLD_FRAMES + STREAM_FRAMES + FEWEST_DARK + 50
LIGHT = 0.55  # share of the light that is left after the change
MISSING_LABEL = "stain"  # the synthetic plant's class that comes with the stream
NEW_LABELS = 60  # training labels that make the retraining due


@dataclass(frozen=True)
class Acts:
    """The frames in four acts: before the first model, with what it never saw, in steady light, in failing light."""

    cold: tuple[Frame, ...]
    stream: tuple[Frame, ...]
    calm: tuple[Frame, ...]
    dark: tuple[Frame, ...]

    @property
    def frames(self) -> tuple[Frame, ...]:
        return self.cold + self.stream + self.calm + self.dark

    @property
    def dimmed_source(self) -> str:
        return self.dark[0].source


@dataclass(frozen=True)
class Scenario:
    """`settings` are environment variables of the demo's own system; `painting` ends with the acts."""

    seed: int
    labels: tuple[str, ...]
    missing_source: str
    missing_label: str | None
    settings: dict[str, str]
    painting: Future[Acts]

    @property
    def acts(self) -> Acts:
        """The frames; waits until they are painted."""
        return self.painting.result()


BASE_SETTINGS = {
    "CONFIDENCE_LOW": "0.1",  # a model of three minutes is sure of nothing: few of its confidences reach the default 0.4
    "BUDGET_PER_DAY": "85",
    "FIRST_BATCH": "100",
    "AUDIT_RATE": "0.42",
    "HOLDOUT_RATE": "0.9",
    "SETTLE_SECONDS": "3",
    "FIRST_LABELS": "170",
    "MIN_NEW_LABELS": str(NEW_LABELS),
    "COOLDOWN_SECONDS": "5",
    "LABEL_QUIET_SECONDS": "2",  # less than a look of the policy: one label short, it waits for the label and for nothing else
    "WEAK_CLASS_AP": "0",
    "SECOND_LOOKS_PER_DAY": "0",  # labels are checked, but the script's tasks are counted: it is asked nothing twice
    # Nobody labels meanwhile, so no core need be left free.
    "TRAIN_THREADS": os.environ.get(PREFIX + "TRAIN_THREADS") or str(os.cpu_count() or 1),
    "TRAIN_CONTROL": "true",
    "REPLAY": "1.0",
    "LEARNING_RATE": "0.0015",  # at the default 0.002 so short a training from scratch now and then goes nowhere
    "TICK_SELECT": "6",
    "TICK_PULL": "20",
    "TICK_POLICY": "4",
    "TICK_DRIFT": "6",
    "TICK_SWEEP": "4",
}


def synthetic(seed: int, missing_source: str | None = None) -> Scenario:
    """The built-in plant: line-c and the class stain come only with the stream. Returns at once; the painting takes some seconds."""
    missing = missing_source or SOURCES[-1]
    if missing not in SOURCES:
        raise ValueError(f"There is no source {missing!r}; take one of {', '.join(SOURCES)}.")
    recipe = {"IMAGE_SIZE": "192", "FIRST_UPDATES": "320", "WARM_UPDATES": "170", "BATCH_SIZE": "8"}
    painter = ThreadPoolExecutor(1)
    painting = painter.submit(_paint, seed, missing, MISSING_LABEL)
    painter.shutdown(wait=False)
    return Scenario(seed, LABELS, missing, MISSING_LABEL, BASE_SETTINGS | recipe, painting)


def _paint(seed: int, missing: str, missing_label: str) -> Acts:
    plant = SyntheticPlant(seed)
    known = [source for source in SOURCES if source != missing]
    cold = list(plant.stream(COLD_FRAMES, known, [label for label in LABELS if label != missing_label]))
    stream = list(plant.stream(STREAM_FRAMES, [*known, missing, missing]))
    random.Random(seed).shuffle(stream)  # noqa: S311 - a demo's shuffle
    calm = list(plant.stream(CALM_FRAMES, SOURCES))
    dark = [darken(plant.frame(known[0]), LIGHT) for _ in range(DARK_FRAMES)]
    return Acts(tuple(cold), tuple(stream), tuple(calm), tuple(dark))


def from_folder(data: Path, seed: int, missing_source: str | None = None) -> Scenario:
    """A YOLO-format folder: one source is held back for the stream; its classes are as they are."""
    rng = random.Random(seed)  # noqa: S311 - a demo's shuffle
    frames = read(data)
    sizes = Counter(frame.source for frame in frames)
    missing = missing_source or max(sizes)
    _check(sizes, missing, data)
    known = [frame for frame in frames if frame.source != missing]
    fresh = [frame for frame in frames if frame.source == missing]
    rng.shuffle(known)
    dimmed = max((source for source in sizes if source != missing), key=lambda source: sizes[source])
    cold, rest = known[:COLD_FRAMES], known[COLD_FRAMES:]
    stream = rest[: max(STREAM_FRAMES - len(fresh), 0)] + fresh[:STREAM_FRAMES]
    rng.shuffle(stream)
    later = rest[STREAM_FRAMES - len(fresh) :]
    dark = [darken(frame, LIGHT) for frame in later if frame.source == dimmed][-DARK_FRAMES:]
    if len(dark) < FEWEST_DARK:
        raise ValueError(f"{dimmed}, the source that shall lose its light, has {len(dark)} images left for that; it needs {FEWEST_DARK}.")
    darkened = {frame.external_id.rsplit("-dark", 1)[0] for frame in dark}
    calm = [frame for frame in later if frame.external_id not in darkened][:CALM_FRAMES]
    recipe = {"IMAGE_SIZE": "320", "FIRST_UPDATES": "400", "WARM_UPDATES": "130", "BATCH_SIZE": "8"}
    labels = tuple(classes(data))
    painted: Future[Acts] = Future()
    painted.set_result(_in_order(Acts(tuple(cold), tuple(stream), tuple(calm), tuple(dark))))
    return Scenario(seed, labels, missing, None, BASE_SETTINGS | recipe, painted)


def _in_order(acts: Acts) -> Acts:
    """The frames as if filmed in the order in which they are played: the times of copied files say nothing, and drift goes by time."""
    clock = (FIRST_SHIFT + timedelta(seconds=number) for number in range(len(acts.frames)))
    return Acts(
        *(tuple(replace(frame, captured_at=next(clock)) for frame in act) for act in (acts.cold, acts.stream, acts.calm, acts.dark))
    )


def counts(frames: Sequence[Frame]) -> dict[str, int]:
    """Frames by source."""
    return dict(sorted(Counter(frame.source for frame in frames).items()))


def _check(sizes: Counter[str], missing: str, data: Path) -> None:
    if missing not in sizes:
        raise ValueError(f"There is no source {missing!r} in {data}; take one of {', '.join(sorted(sizes))}.")
    if len(sizes) < 2:
        raise ValueError(f"{data} has one source only; the demo holds one back. Put images into sub-folders named after their sources.")
    if sizes.total() < FEWEST_FRAMES:
        raise ValueError(f"{data} has {sizes.total()} labelled images; the demo needs {FEWEST_FRAMES}.")
