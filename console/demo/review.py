"""What a person does to pre-annotated boxes, as a pure function with stated error rates and a stated price for each act.

A predicted box meets exactly one fate (kept, moved, relabelled or deleted; relabelled ones may be moved as well) and a
true box without a prediction is added, so that
`kept + moved + relabelled + deleted` = predicted boxes and `kept + moved + relabelled + added` = boxes in the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from console.demo.images import Truth

SAME_THING = 0.3  # IoU from which a box of the right label is a try at a true box; it is corrected, not replaced
SAME_PLACE = 0.5  # the same for a box of another label
ID_LETTERS = list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")

# Seconds an act takes: a model of a trained annotator, not a measurement. Drawing is the 7 s of extreme clicking
# (Papadopoulos et al., ICCV 2017); the others are set in proportion to it.
SECONDS = {"look": 3.0, "keep": 1.0, "move": 4.0, "relabel": 2.5, "delete": 1.5, "add": 7.0}


@dataclass(frozen=True)
class Rates:
    """How the scripted annotator errs; every rate is a probability 0..1 of one decision."""

    move: float = 0.8  # a usable but loose box (IoU below `content`) is drawn to the truth
    content: float = 0.75  # IoU from which a box is left as it is
    hand: float = 0.02  # standard deviation of a careful corner, as a share of the box's side
    miss: float = 0.03  # a needed addition or deletion is forgotten
    slip: float = 0.03  # a box is drawn sloppily
    wrong_label: float = 0.01  # a label that has to be set is set wrong
    skip: float = 0.01  # the whole task is skipped


FLAWLESS = Rates(move=1, content=1, hand=0, miss=0, slip=0, wrong_label=0, skip=0)
SLOPPY_HAND = 0.12  # `hand` of a slip


@dataclass(frozen=True)
class Tally:
    """Counts of acts; `seconds` is modelled by `SECONDS`. `unknown`: tasks left alone because nobody knows their truth."""

    tasks: int = 0
    skipped: int = 0
    unknown: int = 0
    kept: int = 0
    moved: int = 0
    relabelled: int = 0
    deleted: int = 0
    added: int = 0
    mistakes: int = 0
    seconds: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(Tally)))


@dataclass(frozen=True)
class Region:
    """A box in the answer. `origin` as Label Studio's UI writes it: prediction, prediction-changed or manual."""

    box: Truth
    id: str
    origin: str = "manual"
    score: float | None = None


@dataclass(frozen=True)
class Reviewed:
    """What the person submits (`skipped`: with the skip button) and what it took."""

    regions: tuple[Region, ...]
    skipped: bool
    tally: Tally


def review(
    predicted: Sequence[Region], truth: Sequence[Truth], rates: Rates, rng: np.random.Generator, labels: Sequence[str] = ()
) -> Reviewed:
    """Turn the boxes shown into what a person with these error rates submits; a wrong choice falls on another of `labels`."""
    if rng.random() < rates.skip:
        return Reviewed(tuple(predicted), True, Tally(tasks=1, skipped=1, seconds=SECONDS["look"]))
    desk = _Desk(rates, rng, tuple(dict.fromkeys([*labels, *(box.label for box in truth)])))
    pairs = dict(match([region.box for region in predicted], truth))
    for index, region in enumerate(predicted):
        desk.see(region, truth[pairs[index]] if index in pairs else None)
    for index, box in enumerate(truth):
        if index not in pairs.values():
            desk.add(box)
    return Reviewed(tuple(desk.regions), False, desk.tally)


def match(predicted: Sequence[Truth], truth: Sequence[Truth]) -> Iterator[tuple[int, int]]:
    """Pairs (predicted, true), each index at most once: right labels first, then by IoU."""
    pairs = ((one.label == other.label, iou(one, other), i, j) for i, one in enumerate(predicted) for j, other in enumerate(truth))
    close = sorted((pair for pair in pairs if pair[1] >= (SAME_THING if pair[0] else SAME_PLACE)), reverse=True)
    left, right = set(range(len(predicted))), set(range(len(truth)))
    for _, _, i, j in close:
        if i in left and j in right:
            left.remove(i)
            right.remove(j)
            yield i, j


def iou(one: Truth, other: Truth) -> float:
    """Intersection over union, 0..1."""
    width = max(0.0, min(one.x2, other.x2) - max(one.x1, other.x1))
    height = max(0.0, min(one.y2, other.y2) - max(one.y1, other.y1))
    shared = width * height
    return shared / (_area(one) + _area(other) - shared) if shared else 0.0


def _area(box: Truth) -> float:
    return (box.x2 - box.x1) * (box.y2 - box.y1)


@dataclass
class _Desk:
    """The task on the screen while it is being worked on."""

    rates: Rates
    rng: np.random.Generator
    labels: tuple[str, ...]
    regions: list[Region] = field(default_factory=list)
    tally: Tally = Tally(tasks=1, seconds=SECONDS["look"])

    def see(self, region: Region, true: Truth | None) -> None:
        """Judge one predicted box; `true` is what it shows, None a false alarm."""
        if true is None:
            self._false_alarm(region)
        elif region.box.label != true.label:
            box = self._drawn(true) if self._loose(region.box, true) else region.box
            self._put(region, replace(box, label=self._chosen(true.label)), "relabel", relabelled=1)
        elif self._loose(region.box, true):
            self._put(region, self._drawn(true), "move", moved=1)
        else:
            self._keep(region)

    def add(self, true: Truth) -> None:
        """Draw a true box that the model did not see, unless it is missed."""
        if self._happens(self.rates.miss):
            self._count(mistakes=1)
            return
        box = self._drawn(true)
        name = "".join(self.rng.choice(ID_LETTERS, 10))
        self.regions.append(Region(replace(box, label=self._chosen(true.label)), name))
        self._count("add", added=1)

    def _false_alarm(self, region: Region) -> None:
        if self._happens(self.rates.miss):
            self._count(mistakes=1)
            self._keep(region)
        else:
            self._count("delete", deleted=1)

    def _keep(self, region: Region) -> None:
        self.regions.append(replace(region, origin="prediction"))
        self._count("keep", kept=1)

    def _put(self, region: Region, box: Truth, act: str, **counts: int) -> None:
        self.regions.append(replace(region, box=box, origin="prediction-changed"))
        self._count(act, **counts)

    def _loose(self, box: Truth, true: Truth) -> bool:
        fit = iou(box, true)
        return fit < SAME_PLACE or (fit < self.rates.content and self._happens(self.rates.move))

    def _drawn(self, true: Truth) -> Truth:
        """The true box as a hand draws it: each corner off by a share of the side, never turned inside out."""
        slipped = self._happens(self.rates.slip)
        self._count(mistakes=int(slipped))
        hand = SLOPPY_HAND if slipped else self.rates.hand
        off = self.rng.normal(0, 1, 4).clip(-2, 2) * hand
        width, height = true.x2 - true.x1, true.y2 - true.y1
        return Truth(true.label, true.x1 + off[0] * width, true.y1 + off[1] * height, true.x2 + off[2] * width, true.y2 + off[3] * height)

    def _chosen(self, label: str) -> str:
        others = [other for other in self.labels if other != label]
        if not others or not self._happens(self.rates.wrong_label):
            return label
        self._count(mistakes=1)
        return str(self.rng.choice(others))

    def _happens(self, rate: float) -> bool:
        return bool(self.rng.random() < rate)

    def _count(self, act: str = "", **counts: int) -> None:
        self.tally += Tally(**counts, seconds=SECONDS[act] if act else 0.0)
