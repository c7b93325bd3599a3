"""How unsure a model is of an image: pure, from the boxes that it found there.

What is stored of a box is its best class's confidence c, so the measures of the literature, which want the scores of all classes, are
read on that: a box is an object of its label with chance c, and none with 1 − c. Each is a number from 0 to 1, and is meant for ranking.

The band says where doubt counts in full. Beyond its edges it counts less and less, down to nothing at 0 and 1: no edge takes all or
nothing. A label's weight (0–1) scales its boxes. An image in which nothing was found is not the most doubtful one: see `EMPTY`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

GLANCE = 0.3  # work of checking one box, where opening an image is 1 and mending an error is 1
EMPTY = 0.04  # of an image where surely nothing was found: about that of a single box held at 0.13 or at 0.88
RIVAL_IOU = 0.5


class Found(NamedTuple):
    """A detection as far as choosing needs it: label, confidence (0–1), box in pixels (x1, y1, x2, y2)."""

    label: str
    confidence: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """Edges of the band, and weights of labels (0–1; `*` is that of all that are not named, else 1)."""

    low: float = 0.0
    high: float = 1.0
    weights: Mapping[str, float] = field(default_factory=dict)

    def of(self, item: Found) -> float:
        """How much a box's doubt counts, 0–1."""
        value = item.confidence
        weight = value / self.low if value < self.low else (1 - value) / (1 - self.high) if value > self.high else 1.0
        return weight * self.of_label(item.label) if self.weights else weight  # most have no weights, and a pool has many boxes

    def of_label(self, label: str) -> float:
        return self.weights.get(label, self.weights.get("*", 1.0))

    def holds(self, item: Found) -> bool:
        """Whether a box lies in the band."""
        return self.low <= item.confidence <= self.high


WHOLE = Scale()


def uncertainty(found: Sequence[Found], measure: str, scale: Scale = WHOLE) -> float:
    """An image's uncertainty by a measure of `MEASURES`; never below `EMPTY` times the chance that nothing is there."""
    nothing = math.prod(1 - item.confidence for item in found)
    return max(MEASURES[measure](found, scale) if found else 0.0, EMPTY * nothing)


def least_confidence(found: Sequence[Found], scale: Scale = WHOLE) -> float:
    """1 − c of the least sure box (Lewis and Gale 1994); the maximum stands for the image, as one way of Brust et al. 2019."""
    return max(scale.of(item) * (1 - item.confidence) for item in found)


def margin(found: Sequence[Found], scale: Scale = WHOLE) -> float:
    """1 − the least distance between the two best answers (Scheffer et al. 2001; "1-vs-2" of Brust et al. 2019).

    The two answers are "an object of this label" (c) and "none" (1 − c). Where boxes of different labels claim the same place, they are
    these two labels instead; such a pair counts as far as its stronger box is believed.
    """
    alone = max(scale.of(item) * (1 - abs(2 * item.confidence - 1)) for item in found)
    return max([alone, *(_rivalry(one, other, scale) for one, other in _rivals(found))])


def entropy(found: Sequence[Found], scale: Scale = WHOLE) -> float:
    """Mean binary entropy of the boxes, in bits, each box counting as much as it is believed (per box as Roy et al. 2018, mean as Brust)."""
    believed = sum(item.confidence for item in found)
    return sum(item.confidence * scale.of(item) * bits(item.confidence) for item in found) / believed if believed else 0.0


def expected_errors(found: Sequence[Found], scale: Scale = WHOLE) -> float:
    """Errors expected, as a share of a person's work on the image: s / (1 + s + GLANCE · n).

    s sums min(c, 1 − c): a box held at confidence c is wrong with chance 1 − c; taken for none, it is with chance c. n = Σ c is the number
    of objects expected. The work is one unit to open the image, one to mend each error, and a glance at each object: so neither a crowd
    nor a lone box wins by its number alone. It is what a budget counted in images cannot see, a measure of gain per cost.
    """
    errors = sum(scale.of(item) * min(item.confidence, 1 - item.confidence) for item in found)
    return errors / (1 + errors + GLANCE * sum(item.confidence for item in found))


MEASURES: Mapping[str, Callable[[Sequence[Found], Scale], float]] = {
    "expected_errors": expected_errors,
    "least_confidence": least_confidence,
    "margin": margin,
    "entropy": entropy,
}


def most_doubtful(found: Sequence[Found], scale: Scale = WHOLE) -> str:
    """Label of the box that most errors are expected of: the class that an image is chosen for. Empty without boxes."""
    doubts = [(scale.of(item) * min(item.confidence, 1 - item.confidence), item.label) for item in found]
    return max(doubts)[1] if doubts else ""


def bits(chance: float) -> float:
    """Entropy of a yes or no that is yes with this chance, in bits: 0 to 1."""
    return -sum(part * math.log2(part) for part in (chance, 1 - chance) if part > 0)


def _rivals(found: Sequence[Found]) -> list[tuple[Found, Found]]:
    pairs = ((one, other) for number, one in enumerate(found) for other in found[number + 1 :] if one.label != other.label)
    return [(one, other) for one, other in pairs if overlap(one.box, other.box) >= RIVAL_IOU]


def _rivalry(one: Found, other: Found, scale: Scale) -> float:
    weight = max(scale.of_label(one.label), scale.of_label(other.label))
    return weight * max(one.confidence, other.confidence) * (1 - abs(one.confidence - other.confidence))


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes; 0 for one without area."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
