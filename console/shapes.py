"""Where things lie in the page's pictures: plain geometry, so that templates hold no arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

LEAN = 0.17


class Point(NamedTuple):
    x: float
    y: float


class Arrow(NamedTuple):
    """A small arrow head on the rim: its middle, and its turn in degrees clockwise from pointing right."""

    x: float
    y: float
    turn: float


class Spark(NamedTuple):
    """A tiny curve: SVG `points`, the height of the threshold, and the newest point."""

    line: str
    threshold: float
    end: Point


@dataclass(frozen=True, slots=True)
class Slice:
    """Part of a bar, in percent of its length."""

    name: str
    count: int
    start: float
    width: float


def rim(count: int, radius: float, center: float) -> list[Point]:
    """`count` places evenly on a circle, clockwise from the top."""
    return [_on_rim(place / count, radius, center) for place in range(count)]


def arrows(count: int, radius: float, center: float) -> list[Arrow]:
    """Arrow heads between the places of `rim`, pointing clockwise; nearer the lower of the two, since captions hang under places."""
    middles = [(place + 0.5 + LEAN * math.sin(math.tau * (place + 0.5) / count)) / count for place in range(count)]
    return [Arrow(*_on_rim(share, radius, center), round(share * 360, 1)) for share in middles]


def spark(scores: Sequence[float], threshold: float, width: float, height: float) -> Spark:
    """Scores (at least one) from left to right; the scale reaches from 0 to a little above all of them and the threshold."""
    top = 1.15 * max(*scores, threshold)
    step = width / max(len(scores) - 1, 1)
    first = 0.0 if len(scores) > 1 else width
    points = [Point(round(first + place * step, 1), round(height * (1 - score / top), 1)) for place, score in enumerate(scores)]
    return Spark(" ".join(f"{point.x},{point.y}" for point in points), round(height * (1 - threshold / top), 1), points[-1])


def slices(counts: Mapping[str, Any], order: Sequence[str]) -> list[Slice]:
    """A bar of the counts that are not zero, in the given order; together 100 percent."""
    shown = [(name, int(counts[name])) for name in order if counts.get(name)]
    total = sum(count for _, count in shown)
    edges = [0.0]
    for _, count in shown:
        edges.append(edges[-1] + 100 * count / total)
    return [
        Slice(name, count, round(left, 2), round(right - left, 2))
        for (name, count), (left, right) in zip(shown, pairwise(edges), strict=True)
    ]


def _on_rim(share: float, radius: float, center: float) -> Point:
    angle = math.tau * share
    return Point(round(center + radius * math.sin(angle), 1), round(center - radius * math.cos(angle), 1))
