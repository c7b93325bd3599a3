"""Outlines of what people draw: points in pixels of the upright image, the first not repeated. Plain numbers: one image has few of them.

Edges lie between pixels, as in `geometry`: the frame is (0, 0, W, H).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from labelwheel.vision.geometry import Box

Spot = tuple[float, float]
Outline = tuple[Spot, ...]

ELLIPSE_POINTS = 128  # the polygon then has 0.9996 of the ellipse's area
SLACK = 1e-6  # pixels: what sticks out by less is moved, not cut


def rectangle(x: float, y: float, width: float, height: float, rotation: float) -> Outline:
    """Corners, clockwise from (x, y), of a rectangle in pixels that is turned by `rotation` degrees clockwise about that corner."""
    if not rotation:
        return (x, y), (x + width, y), (x + width, y + height), (x, y + height)
    sine, cosine = math.sin(math.radians(rotation)), math.cos(math.radians(rotation))
    right, along, left, down = width * cosine, width * sine, -height * sine, height * cosine
    return (x, y), (x + right, y + along), (x + right + left, y + along + down), (x + left, y + down)


def ellipse(cx: float, cy: float, rx: float, ry: float, rotation: float) -> Outline:
    """An ellipse in pixels, turned by `rotation` degrees clockwise about its centre, as a polygon."""
    sine, cosine = math.sin(math.radians(rotation)), math.cos(math.radians(rotation))
    steps = ((rx * math.cos(angle), ry * math.sin(angle)) for angle in _angles())
    return tuple((cx + x * cosine - y * sine, cy + x * sine + y * cosine) for x, y in steps)


def _angles() -> Iterable[float]:
    return (2 * math.pi * step / ELLIPSE_POINTS for step in range(ELLIPSE_POINTS))


def around_ellipse(cx: float, cy: float, rx: float, ry: float, rotation: float) -> Outline:
    """Corners of the rectangle that an ellipse touches with both of its axes."""
    turned = rectangle(0, 0, 2 * rx, 2 * ry, rotation)
    dx, dy = cx - turned[2][0] / 2, cy - turned[2][1] / 2
    return tuple((x + dx, y + dy) for x, y in turned)


def clipped(outline: Outline, width: float, height: float) -> Outline:
    """The part inside a frame of this size; empty when nothing is. An outline inside keeps its points.

    Of a hollow outline that leaves the frame several times, the parts hang together along the edge, where they have no area.
    """
    xs, ys = zip(*outline, strict=True)
    if min(xs) >= 0 and min(ys) >= 0 and max(xs) <= width and max(ys) <= height:
        return outline
    if min(xs) >= -SLACK and min(ys) >= -SLACK and max(xs) <= width + SLACK and max(ys) <= height + SLACK:
        return tuple((min(max(x, 0.0), width), min(max(y, 0.0), height)) for x, y in outline)
    for axis, limit, side in ((0, 0.0, 1), (0, width, -1), (1, 0.0, 1), (1, height, -1)):
        outline = _cut(outline, lambda spot, a=axis, at=limit, s=side: s * (spot[a] - at), axis, limit)  # type: ignore[misc]
    return outline


def _cut(outline: Outline, inside: Callable[[Spot], float], axis: int, limit: float) -> Outline:
    """The part of an outline on one side of a straight line (Sutherland and Hodgman)."""
    kept: list[Spot] = []
    for before, spot in zip((*outline[-1:], *outline[:-1]), outline, strict=True):
        d, e = inside(before), inside(spot)
        if (d < 0) != (e < 0):
            kept.append(_crossing(before, spot, d / (d - e), axis, limit))
        if e >= 0:
            kept.append(spot)
    return tuple(kept)


def _crossing(before: Spot, spot: Spot, share: float, axis: int, limit: float) -> Spot:
    """Where the way from one to the other meets the line; exactly on it."""
    x, y = (a + share * (b - a) for a, b in zip(before, spot, strict=True))
    return (limit, y) if axis == 0 else (x, limit)


def box_of(outline: Outline) -> Box:
    """The upright box around it."""
    xs, ys = zip(*outline, strict=True)
    return Box(min(xs), min(ys), max(xs), max(ys))


def area(outline: Sequence[Spot]) -> float:
    """Its area in square pixels, positive when its points go clockwise on the screen; 0 of no points."""
    twice = 0.0
    before_x, before_y = outline[-1] if outline else (0.0, 0.0)
    for x, y in outline:
        twice += before_x * y - x * before_y
        before_x, before_y = x, y
    return twice / 2


def holds(outline: Outline, spot: Spot) -> bool:
    """Whether a point lies inside (even and odd crossings)."""
    x, y = spot
    crossings = ((a, b) for a, b in zip(outline, (*outline[1:], *outline[:1]), strict=True) if (a[1] > y) != (b[1] > y))
    return sum(x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]) for a, b in crossings) % 2 == 1


def smallest_rectangle(outline: Outline) -> Outline:
    """Corners of the smallest turned rectangle around it."""
    origin = outline[0]  # OpenCV works in single precision: near to zero that is a millionth of a pixel
    points = np.array([(x - origin[0], y - origin[1]) for x, y in outline], np.float32)
    corners = cv2.boxPoints(cv2.minAreaRect(points)).tolist()
    return tuple((x + origin[0], y + origin[1]) for x, y in corners)


def joined(parts: Sequence[Outline]) -> Outline:
    """Several outlines, and holes, as one: hung together by ways to and fro between their nearest points, which have no area.

    Formats that know one outline for each object, and fill it by even and odd, then lose neither parts nor holes.
    """
    whole, rest = parts[0], list(parts[1:])
    while rest:
        near = [_nearest(whole, part) for part in rest]
        best = min(range(len(rest)), key=lambda n: near[n][0])
        _, here, there = near[best]
        part = rest.pop(best)
        whole = (*whole[: here + 1], *part[there:], *part[: there + 1], *whole[here:])
    return whole


def _nearest(whole: Outline, part: Outline) -> tuple[float, int, int]:
    apart = np.square(np.array(whole)[:, None] - np.array(part)[None]).sum(axis=2)
    here, there = divmod(int(apart.argmin()), len(part))
    return float(apart[here, there]), here, there
