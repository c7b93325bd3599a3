"""Near-duplicates: pure. Two captures are twins only when the images are alike *and* the model sees the same in both.

Appearance alone will not do: a scratch moves a descriptor of an image as little as it moves a perceptual hash, and it is the very
thing that is looked for. Being a twin has no direction: of two, the earlier is not the better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sync.selection.score import Found, overlap

Vector = npt.NDArray[np.float32]

LEAST_IOU = 0.5
TOLERANCE = 0.15  # of confidence; a box that only one of two has is one that the other holds at 0


class Sight(Protocol):
    """An image as it came from a source, and what was seen in it; None while nobody looked."""

    @property
    def image_id(self) -> int: ...
    @property
    def source(self) -> str: ...
    @property
    def descriptor(self) -> Vector | None: ...
    @property
    def detections(self) -> tuple[Found, ...] | None: ...
    @property
    def drawn(self) -> bool: ...


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is queued or labelled already. `drawn`: the boxes are a person's, who has no confidence to compare."""

    image_id: int
    source: str
    descriptor: Vector | None = None
    detections: tuple[Found, ...] | None = None
    drawn: bool = False


def twins(a: Sight, b: Sight, distance: float) -> bool:
    """Whether both came from one source, lie within `distance` (Euclidean, between descriptors) and show the same. 0: never."""
    return a.source == b.source and _near(a.descriptor, b.descriptor, distance) and agree(a, b)


def agree(a: Sight, b: Sight) -> bool:
    """Whether each box of one has its like in the other: same label, IoU of 0.5 or more, confidence within 0.15."""
    if a.detections is None or b.detections is None:
        return False
    tolerance = 1.0 if a.drawn or b.drawn else TOLERANCE
    return _has_all(a.detections, b.detections, tolerance) and _has_all(b.detections, a.detections, tolerance)


def _has_all(mine: Sequence[Found], others: Sequence[Found], tolerance: float) -> bool:
    return all(any(_like(one, other, tolerance) for other in others) for one in mine if one.confidence > TOLERANCE)


def _like(one: Found, other: Found, tolerance: float) -> bool:
    close = one.label == other.label and abs(one.confidence - other.confidence) <= tolerance
    return close and overlap(one.box, other.box) >= LEAST_IOU


def _near(a: Vector | None, b: Vector | None, distance: float) -> bool:
    return a is not None and b is not None and distance > 0 and float(np.linalg.norm(a - b)) <= distance


class Seen:
    """Sights among which twins are looked for, by source, so that one look is one product of matrices."""

    def __init__(self, distance: float, sights: Iterable[Sight] = ()) -> None:
        self.distance = distance
        self._sights: dict[str, list[Sight]] = {}
        self._vectors: dict[str, Vector] = {}
        for sight in sights:
            self.add(sight)

    def add(self, sight: Sight) -> None:
        if sight.descriptor is not None and self.distance > 0:
            self._sights.setdefault(sight.source, []).append(sight)
            self._vectors.pop(sight.source, None)

    def near(self, sight: Sight) -> list[Sight]:
        """Those of its source that look like it, whatever is seen in them; in the order of their image's id."""
        there = self._sights.get(sight.source)
        if not there or sight.descriptor is None:
            return []
        if sight.source not in self._vectors:
            self._vectors[sight.source] = np.stack([other.descriptor for other in there if other.descriptor is not None])
        apart = np.linalg.norm(self._vectors[sight.source] - sight.descriptor, axis=1)
        return sorted((there[index] for index in np.flatnonzero(apart <= self.distance)), key=lambda other: other.image_id)

    def twin(self, sight: Sight) -> Sight | None:
        """The first that shows the same as this one."""
        return next((other for other in self.near(sight) if agree(sight, other)), None)
