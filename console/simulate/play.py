"""Play a simulation to its end: take stock, train the start models, then every strategy's rounds; a killed one goes on where it stopped."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn, track

from console.simulate.chain import CONTROL, Course, base_step, begin, play, play_control
from console.simulate.crew import Crew
from console.simulate.curve import Run
from console.simulate.picture import draw
from console.simulate.regime import Novelty, Regime, Sizes
from console.simulate.report import markdown, report
from console.simulate.step import Outcome, Step
from console.simulate.stock import Cut, Stock, take_stock
from console.simulate.strategy import Strategy
from console.writing import into
from labelwheel.errors import AlreadyRunning
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore

JSON, PICTURE, TABLE = "simulation.json", "simulation.png", "simulation.md"
RECIPE = ("architecture", "image_size", "batch_size", "learning_rate", "first_updates", "warm_updates", "replay")
BAND = ("confidence_low", "confidence_high")


@dataclass(frozen=True)
class Wanted:
    """What is to be played. `settings` hold the recipe and the band, `out` is where all files go, `budget` is in images a round.

    Each image of `data` is cut into `parts` × `parts`.
    """

    data: Path
    out: Path
    strategies: tuple[Strategy, ...]
    regimes: tuple[Regime, ...]
    seeds: tuple[int, ...]
    rounds: int
    budget: int
    settings: Settings
    sizes: Sizes = field(default_factory=Sizes)
    novelty: Novelty = field(default_factory=Novelty)
    parts: int = 1
    jobs: int = 1


def simulate(wanted: Wanted, screen: Console) -> dict[str, Any]:
    """Play it; return the report, which is also in `out` with the picture. Raises InputError, AlreadyRunning, TrainingError."""
    with _alone(wanted.out):
        stock = _stock(wanted, screen)
        courses = [_course(wanted, stock, regime, seed) for seed in wanted.seeds for regime in wanted.regimes]
        runs = _play(wanted, courses, screen)
        found = report(runs, _setting(wanted, stock, courses))
        (wanted.out / JSON).write_text(json.dumps(found, indent=1) + "\n")
        (wanted.out / TABLE).write_text(markdown(found))
        draw(runs, {regime.name: f"{regime.name}: {regime.meaning}" for regime in wanted.regimes}, wanted.out / PICTURE)
        return found


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    lock = FileLock(out / "lock", timeout=0)
    with into(out):
        out.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise AlreadyRunning(f"Another simulation runs in {out}.", "Wait for it, or name another folder with --out.") from None
    try:
        yield
    finally:
        lock.release()


def _stock(wanted: Wanted, screen: Console) -> Stock:
    store, cut = ImageStore(wanted.out / "images"), Cut(wanted.settings.image_size, wanted.parts)
    stock: Stock | None = None
    for item in track(take_stock(wanted.data, store, cut, wanted.settings), "Reading", console=screen, transient=True):
        stock = item if isinstance(item, Stock) else None
    assert stock is not None  # noqa: S101  the stock is what comes last
    for fault in stock.faults[:5]:
        screen.print(f"[yellow]•[/] {fault}", highlight=False)
    if len(stock.faults) > 5:
        screen.print(f"  … and {len(stock.faults) - 5} more")
    return stock


def _course(wanted: Wanted, stock: Stock, regime: Regime, seed: int) -> Course:
    split = regime.split(stock.photos, wanted.sizes, wanted.novelty, seed)
    return Course(regime.name, seed, split, stock.labels, wanted.rounds, wanted.budget, wanted.settings)


def _play(wanted: Wanted, courses: Sequence[Course], screen: Console) -> list[Run]:
    """What others go on from comes first. A failure ends the run at once; what is done stays done."""
    with _Bar(wanted, courses, screen) as bar, ThreadPoolExecutor(wanted.jobs) as threads, Crew(wanted.out, wanted.jobs) as crew:
        do = partial(_do, crew, bar)
        bases = {course.regime: base for course in courses if (base := base_step(course))}
        list(threads.map(do, bases.values()))
        list(threads.map(lambda course: begin(course, do), courses))
        chains = [chain for course in courses for chain in _chains(course, wanted.strategies, do)]
        return list(threads.map(lambda chain: chain(), chains))


def _chains(course: Course, strategies: Sequence[Strategy], do: Callable[[Step], Outcome]) -> list[Callable[[], Run]]:
    return [*(partial(play, course, strategy, do) for strategy in strategies), partial(play_control, course, do)]


def _do(crew: Crew, bar: _Bar, step: Step) -> Outcome:
    known = crew.done(step)
    outcome = known or crew.do(step)
    bar.tick(step, fresh=known is None)
    return outcome


class _Bar:
    """Progress in updates, so that the time that is left can be told: a start model takes many rounds' time."""

    def __init__(self, wanted: Wanted, courses: Sequence[Course], screen: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("updates"))
        self._bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=screen, speed_estimate_period=3600)
        warm = len(courses) * (wanted.rounds * (len(wanted.strategies) + 1) + bool(wanted.sizes.base))
        first = len(wanted.regimes) if wanted.sizes.base else len(courses)
        total = first * wanted.settings.first_updates + warm * wanted.settings.warm_updates
        self._task = self._bar.add_task("first models", total=total)
        self._counted: set[str] = set()
        self._lock = threading.Lock()

    def tick(self, step: Step, *, fresh: bool) -> None:
        """A step is done. One that was done before this run shortens the way instead, or the rest would seem quick."""
        with self._lock:
            if step.key in self._counted:
                return
            self._counted.add(step.key)
            if fresh:
                self._bar.update(self._task, advance=step.spec.updates, description=step.title)
                if not self._bar.console.is_terminal:
                    self._bar.console.print(self._line(), highlight=False)
            else:
                self._bar.update(self._task, total=(self._bar.tasks[0].total or 0) - step.spec.updates, description=step.title)

    def _line(self) -> str:
        task = self._bar.tasks[0]
        left = "" if task.time_remaining is None else f", {task.time_remaining / 60:.0f} min left"
        return f"{task.completed:.0f} of {task.total:.0f} updates{left} · {task.description}"

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _setting(wanted: Wanted, stock: Stock, courses: Sequence[Course]) -> dict[str, Any]:
    """What was played, but for places on this machine."""
    first = {course.regime: course.split for course in reversed(courses)}
    regimes = {
        regime.name: {
            "meaning": regime.meaning,
            "new_source": first[regime.name].new_source or None,
            "rare_label": first[regime.name].rare_label or None,
            "base": len(first[regime.name].base),
            "start": len(first[regime.name].start),
            "pool": len(first[regime.name].pool),
            "test": {"images": len(first[regime.name].test), "boxes": sum(len(photo.boxes) for photo in first[regime.name].test)},
        }
        for regime in wanted.regimes
    }
    return {
        "data": {
            "name": wanted.data.resolve().name,
            "parts": wanted.parts,
            "photos": len(stock.photos),
            "labels": stock.labels,
            "faults": len(stock.faults),
        },
        "seeds": wanted.seeds,
        "rounds": wanted.rounds,
        "images_a_round": wanted.budget,
        "sizes": asdict(wanted.sizes),
        "recipe": {name: getattr(wanted.settings, name) for name in RECIPE},
        "band": {name: getattr(wanted.settings, name) for name in BAND},
        "strategies": {strategy.name: strategy.meaning for strategy in wanted.strategies}
        | {CONTROL: "trains as long on the start set alone"},
        "regimes": regimes,
    }
