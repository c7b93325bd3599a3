"""Inspection images with known truth: `SyntheticPlant` paints them from a seed, `darken` changes the light.

The same seed and the same calls give the same bytes, so that a demo or a test can be repeated to the pixel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np

from console.demo import surfaces
from console.demo.surfaces import HEIGHT, WIDTH, Painter, Picture

GROUNDS = {"line-a": surfaces.brushed, "line-b": surfaces.cast, "line-c": surfaces.milled}
PAINTERS: dict[str, Painter] = {
    "scratch": surfaces.scratch, "dent": surfaces.dent, "stain": surfaces.stain, "crack": surfaces.crack,
}  # fmt: skip
SOURCES = tuple(GROUNDS)
LABELS = tuple(PAINTERS)

FIRST_SHIFT = datetime(2026, 11, 2, 6, tzinfo=UTC)
DEFECT_ODDS = (0.12, 0.33, 0.30, 0.16, 0.09)  # of 0, 1, 2, 3 and 4 defects in a frame
MARGIN = 24  # pixels that a defect's centre keeps from the edge
VISIBLE = 0.3  # of a defect's mask: what counts for its box
MAX_OVERLAP = 0.1
PLACEMENT_TRIES = 12
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Truth:
    """One true box: label and corners in pixels of the upright image, x1 < x2, y1 < y2."""

    label: str
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Frame:
    """One picture as a camera sends it, together with what is really on it."""

    source: str
    external_id: str
    captured_at: datetime
    jpeg: bytes
    truth: tuple[Truth, ...]


class SyntheticPlant:
    """Three inspection lines that produce frames with scratches, dents, stains and cracks.

    A frame depends on the seed, its source, its number on that source and the labels allowed; not on what other
    sources did. `start` and `every` set the clock of `captured_at` and do not touch the pixels.
    """

    def __init__(self, seed: int, start: datetime = FIRST_SHIFT, every: timedelta = timedelta(seconds=7)) -> None:
        self.seed, self.start, self.every = seed, start, every
        self._made: Counter[str] = Counter()

    def frame(self, source: str, labels: Sequence[str] = LABELS) -> Frame:
        """The next frame of `source` with 0..4 defects of the classes `labels`; ValueError for unknown names."""
        _check(source, labels)
        number, captured_at = self._made[source], self.start + self.every * self._made.total()
        self._made[source] += 1
        rng = np.random.default_rng((self.seed, SOURCES.index(source), number))
        picture, truth = _paint(source, labels, rng)
        return Frame(source, f"{source}-{self.seed}-{number:05d}", captured_at, _encode(picture), truth)

    def stream(self, n: int, sources: Sequence[str] = SOURCES, labels: Sequence[str] = LABELS) -> Iterator[Frame]:
        """`n` frames, the sources taking turns."""
        return (self.frame(sources[turn % len(sources)], labels) for turn in range(n))


def darken(frame: Frame, factor: float) -> Frame:
    """The same scene with `factor` (0..1) of its light and the noise that a camera adds then; a frame of its own (new external id)."""
    pixels = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
    picture: Picture = np.asarray(pixels, np.float32) * np.float32(factor / 255)
    picture += np.random.default_rng(len(frame.jpeg)).normal(0, 0.012, picture.shape).astype(np.float32)
    return replace(frame, external_id=f"{frame.external_id}-dark{round(factor * 100)}", jpeg=_encode(picture))


def _paint(source: str, labels: Sequence[str], rng: np.random.Generator) -> tuple[Picture, tuple[Truth, ...]]:
    picture = GROUNDS[source](rng)
    surfaces.clutter(picture, rng)
    truth: list[Truth] = []
    for _ in range(rng.choice(len(DEFECT_ODDS), p=DEFECT_ODDS)):
        picture = _with_defect(picture, str(rng.choice(list(labels))), truth, rng)
    picture *= rng.uniform(0.9, 1.1)
    picture += rng.normal(0, 0.014, picture.shape).astype(np.float32)
    return picture, tuple(truth)


def _with_defect(picture: Picture, label: str, truth: list[Truth], rng: np.random.Generator) -> Picture:
    """Paint one defect where it overlaps no other, and append its box; give up after some tries."""
    for _ in range(PLACEMENT_TRIES):
        canvas = picture.copy()
        center = (float(rng.uniform(MARGIN, WIDTH - MARGIN)), float(rng.uniform(MARGIN, HEIGHT - MARGIN)))
        box = _tight_box(label, PAINTERS[label](canvas, rng, center))
        if all(_overlap(box, other) <= MAX_OVERLAP for other in truth):
            truth.append(box)
            return canvas
    return picture


def _tight_box(label: str, mask: Picture) -> Truth:
    x, y, width, height = cv2.boundingRect((mask > VISIBLE).astype(np.uint8))
    return Truth(label, float(x), float(y), float(x + width), float(y + height))


def _overlap(one: Truth, other: Truth) -> float:
    """Intersection over the smaller of the two areas."""
    width = min(one.x2, other.x2) - max(one.x1, other.x1)
    height = min(one.y2, other.y2) - max(one.y1, other.y1)
    smaller = min((box.x2 - box.x1) * (box.y2 - box.y1) for box in (one, other))
    return max(0.0, width) * max(0.0, height) / smaller


def _encode(picture: Picture) -> bytes:
    pixels = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _check(source: str, labels: Sequence[str]) -> None:
    if source not in GROUNDS:
        raise ValueError(f"There is no source {source!r}; take one of {', '.join(SOURCES)}.")
    if unknown := sorted(set(labels) - set(LABELS)):
        raise ValueError(f"The plant cannot paint {', '.join(unknown)}; take some of {', '.join(LABELS)}.")
    if not labels:
        raise ValueError(f"No label is allowed; take some of {', '.join(LABELS)}.")
