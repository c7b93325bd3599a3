"""One strategy through its rounds: look at the pool, choose, label, train on; and the control, which trains as long on nothing new. Pure,
but for `do`, which turns a step into its outcome."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from console.simulate.curve import Point, Run
from console.simulate.regime import Split
from console.simulate.step import Outcome, Step
from console.simulate.stock import Photo
from console.simulate.strategy import Moment, Strategy
from labelwheel.settings import Settings
from retrain.dataset.content import draw
from retrain.training.recipe import recipe_for

CONTROL = "control"
Do = Callable[[Step], Outcome]


@dataclass(frozen=True)
class Course:
    """What all strategies of one regime and seed share. `settings` hold recipe, replay and band; `budget` is in images a round."""

    regime: str
    seed: int
    split: Split
    labels: tuple[str, ...]
    rounds: int
    budget: int
    settings: Settings

    def title(self, strategy: str, number: int) -> str:
        return f"{self.regime} · seed {self.seed} · {strategy} · round {number}"


def base_step(course: Course) -> Step | None:
    """The weights that all seeds of a regime begin with, as if they had been brought along; None where start models begin from scratch."""
    if not course.split.base:
        return None
    return _step(course, f"{course.regime} · base", 0, None, course.split.base, ())


def first_step(course: Course, base: Outcome | None) -> Step:
    """The start model; every strategy goes on from it, so it looks at all that is there but the test set."""
    title = course.title("start", 0)
    return _step(course, title, _seed(course, 0), base, course.split.start, (*course.split.start, *course.split.pool))


def begin(course: Course, do: Do) -> Outcome:
    """Base and start model."""
    base = base_step(course)
    return do(first_step(course, do(base) if base else None))


def play(course: Course, strategy: Strategy, do: Do) -> Run:
    """All rounds of a strategy."""
    outcome = begin(course, do)
    labelled, pool = list(course.split.start), list(course.split.pool)
    points = [_point(course, 0, labelled, outcome, 0)]
    for number in range(1, course.rounds + 1):
        chosen = strategy.pick(Moment(pool, labelled, outcome.seen, course.budget, _seed(course, number), course.settings))
        train = training_set(labelled, chosen, course.settings.replay, _seed(course, number))
        labelled += chosen
        taken = {photo.key for photo in chosen}
        pool = [photo for photo in pool if photo.key not in taken]
        look = [*labelled, *pool] if strategy.looks and number < course.rounds else []
        outcome = do(_step(course, course.title(strategy.name, number), _seed(course, number), outcome, train, look))
        points.append(_point(course, number, labelled, outcome, points[-1].updates))
    return Run(course.regime, strategy.name, course.seed, tuple(points))


def play_control(course: Course, do: Do) -> Run:
    """As many rounds and updates on as many images, all of the start set: what longer training alone is worth."""
    outcome = begin(course, do)
    points = [_point(course, 0, course.split.start, outcome, 0)]
    for number in range(1, course.rounds + 1):
        train = control_set(course.split.start, course.budget, course.settings.replay, _seed(course, number))
        outcome = do(_step(course, course.title(CONTROL, number), _seed(course, number), outcome, train, ()))
        points.append(_point(course, number, course.split.start, outcome, points[-1].updates))
    return Run(course.regime, CONTROL, course.seed, tuple(points))


def training_set(old: Sequence[Photo], new: Sequence[Photo], replay: float, seed: int) -> tuple[Photo, ...]:
    """The set of a warm start, as our retraining draws it: all new photographs, and `replay` times as many old ones."""
    photos = [*old, *new]
    splits = draw(dict.fromkeys(range(len(photos)), "train"), set(range(len(old))), replay, seed)
    return tuple(photos[number] for number in sorted(splits))


def control_set(start: Sequence[Photo], budget: int, replay: float, seed: int) -> tuple[Photo, ...]:
    """As many photographs as the others train on, but of the start set."""
    wanted = min(budget + round(replay * budget), len(start))
    return tuple(random.Random(seed).sample(list(start), wanted))  # noqa: S311  a repeatable draw, no secret


def _step(course: Course, title: str, seed: int, before: Outcome | None, train: Sequence[Photo], pool: Sequence[Photo]) -> Step:
    start = before.key if before else ""
    spec = recipe_for(course.settings, Path(), Path(), len(train), f"{start}.pt" if start else None, seed)
    return Step(title, start, spec, course.labels, tuple(train), course.split.test, tuple(pool))


def _seed(course: Course, number: int) -> int:
    """Of draws and training: the same for every strategy, so that they differ by their choices only."""
    return (course.seed * 1000 + number) % 2**31


def _point(course: Course, number: int, labelled: Sequence[Photo], outcome: Outcome, updates_before: int) -> Point:
    scores, split = outcome.scores, course.split
    return Point(
        round=number,
        images=len(labelled),
        boxes=sum(len(photo.boxes) for photo in labelled),
        updates=updates_before + outcome.updates,
        map50=scores["map50"],
        map50_95=scores["map50_95"],
        rare=scores["per_class"].get(split.rare_label),
        new=scores["per_source"].get(split.new_source),
        new_images=sum(photo.source == split.new_source for photo in labelled),
        rare_images=sum(split.rare_label in photo.labels for photo in labelled),
    )
