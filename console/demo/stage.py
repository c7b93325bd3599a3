"""The stage: what the scenes of the demo share, and the steps that were seen on it so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from console.demo.annotator import ScriptedAnnotator, Tally
from console.demo.camera import Camera
from console.demo.scenario import Scenario
from console.demo.tell import Teller
from console.demo.watch import Eyes, until
from labelwheel.settings import Settings

T = TypeVar("T")


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
    teller: Teller = field(default_factory=Teller)

    def until(self, what: str, look: Callable[[], T | None], seconds: float, how_far: Callable[[], str] = lambda: "") -> T:
        """As `watch.until`, and tell meanwhile."""
        return until(what, look, seconds, how_far=how_far, tell=self.teller.waiting)

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time a step; what it saw is appended to the list it gets."""
        start, seen = time.monotonic(), list[str]()
        with self.teller.step(name):
            yield seen
        step = Step(name, round(start - self.began, 1), round(time.monotonic() - start, 1), "; ".join(seen))
        self.steps.append(step)
        self.teller.done(step.name, step.seconds, step.seen)
