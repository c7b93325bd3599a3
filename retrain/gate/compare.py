"""What one model gains over another on the same images, and how far chance explains it: a paired bootstrap over images. Pure.

Images are drawn again with replacement, the same draw for all models. The spread of the differences is the standard error; Student's t
gives the bounds. Of what was tried in simulation this has the right size on 50 images as on 300 (docs/gate.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit  # Student's t: its share below a value, and the inverse

from retrain.gate.precision import Floats, Ints, Matches, average_precision, mean

RESAMPLES = 500  # the standard error is then known within 3 %
LEAST_IMAGES = 8  # with boxes of a slice, for a standard error of it to mean anything


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the holdout: the images of a `source`, or the boxes of a `class`. The whole has neither."""

    kind: str = ""
    name: str = ""

    @classmethod
    def of(cls, stored: Mapping[str, str] | None) -> Slice | None:
        """As `training_run.slice` names it: {"source": name}, {"class": name} or None."""
        return next((cls(kind, str(stored[kind])) for kind in ("source", "class") if stored.get(kind)), None) if stored else None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.kind else "all images"


OVERALL = Slice()


@dataclass(frozen=True, slots=True)
class Gain:
    """mAP50 of two models on a slice (AP50 of a class), `before` and `after`, and the standard error of the difference."""

    before: float
    after: float
    standard_error: float
    images: int  # with boxes of the slice
    boxes: int

    @property
    def gain(self) -> float:
        return self.after - self.before

    def lower(self, confidence: float) -> float:
        """What the gain is at least, with this confidence, one-sided."""
        return self.gain - self._t(confidence) * self.standard_error

    def upper(self, confidence: float) -> float:
        return self.gain + self._t(confidence) * self.standard_error

    @property
    def chance(self) -> float:
        """How often a model that is not worse looks this much worse, or more."""
        if not self.standard_error:
            return float(self.gain >= 0)
        return float(stdtr(self._freedom, self.gain / self.standard_error))

    def enough(self, boxes: int) -> bool:
        """Whether the slice has boxes enough, on images enough, to be judged."""
        return self.boxes >= boxes and self.tells

    @property
    def tells(self) -> bool:
        """Whether its standard error means anything."""
        return self.images >= LEAST_IMAGES

    def as_dict(self) -> dict[str, Any]:
        return {name: round(value, 5) for name, value in asdict(self).items()} | {"gain": round(self.gain, 5)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Gain:
        """Inverse of `as_dict`, up to its rounding."""
        return cls(*(stored[name] for name in ("before", "after", "standard_error", "images", "boxes")))

    @property
    def _freedom(self) -> int:
        return max(self.images - 1, 1)

    def _t(self, confidence: float) -> float:
        return float(stdtrit(self._freedom, confidence))


@dataclass(frozen=True, eq=False)
class Holdout:
    """The images that models are compared on: labels of the C classes, and source and true boxes, (C, N), of the N images."""

    labels: tuple[str, ...]
    sources: tuple[str, ...]
    truths: Ints

    @cached_property
    def places(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Which images are of a source; of all, under the empty name."""
        of = np.array(self.sources, dtype=object)
        return {"": np.ones(len(of), bool)} | {name: of == name for name in sorted(set(self.sources))}

    def slices(self) -> Iterator[Slice]:
        """The parts that have a floor. With one source or one class that is the whole, and no part."""
        for kind, names in (("class", self.labels), ("source", tuple(self.places)[1:])):
            yield from (Slice(kind, name) for name in names if len(names) > 1)

    def draws(self, seed: int, resamples: int = RESAMPLES) -> Floats:
        """How often each image counts, (1 + R, N): once, then as it is drawn."""
        images = len(self.sources)
        drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / max(images, 1)), size=resamples)
        return np.concatenate([np.ones((1, images)), drawn]).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Sampled:
    """AP50 of one model by draw and class, (1 + R, C), on all images and on those of each source."""

    holdout: Holdout
    precisions: Mapping[str, Floats]

    def over(self, other: Sampled, part: Slice, labels: Sequence[str]) -> Gain:
        """What this model gains over another on a slice, as far as these classes go."""
        names = [part.name] if part.kind == "class" else labels
        classes = [number for number, label in enumerate(self.holdout.labels) if label in names]
        source = part.name if part.kind == "source" else ""
        before, after = (mean(model.precisions[source][:, classes]) for model in (other, self))
        boxes = self.holdout.truths[classes][:, self.holdout.places[source]].sum(axis=0)
        error = float((after - before)[1:].std())
        return Gain(float(before[0]), float(after[0]), error, int((boxes > 0).sum()), int(boxes.sum()))


def sample(matches: Matches, holdout: Holdout, draws: Floats) -> Sampled:
    """Score a model on every draw. Raises ValueError when it was scored on other images than the holdout's."""
    if matches.truths.shape != (len(holdout.labels), len(holdout.sources)):
        raise ValueError("the models were scored on different images")
    found = {"": average_precision(matches, draws)}
    for name, place in holdout.places.items():
        if name:
            found[name] = average_precision(matches.of_images(place), draws[:, place])
    return Sampled(holdout, found)


def compare(before: Matches, after: Matches, holdout: Holdout, confidence: float, seed: int) -> dict[str, Any]:
    """mAP50 of two models on the same images, the gain, its standard error and its bounds (each one-sided at `confidence`); `slices` too."""
    draws = holdout.draws(seed)
    one, other = (sample(matches, holdout, draws) for matches in (before, after))
    gain = other.over(one, OVERALL, holdout.labels)
    return {
        "images": float(after.images),
        "champion": gain.before,
        "challenger": gain.after,
        "gain": gain.gain,
        "lower": gain.lower(confidence),
        "upper": gain.upper(confidence),
        "standard_error": gain.standard_error,
        "confidence": confidence,
        "slices": [{"slice": str(part), **found.as_dict()} for part, found in _parts(one, other) if found.boxes],
    }


def _parts(before: Sampled, after: Sampled) -> Iterator[tuple[Slice, Gain]]:
    holdout = after.holdout
    return ((part, after.over(before, part, holdout.labels)) for part in holdout.slices())
