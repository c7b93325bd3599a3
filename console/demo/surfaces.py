"""What the synthetic plant's pixels look like: grounds, light, clutter and the four defects.

A picture is float32 of shape (HEIGHT, WIDTH, 3), BGR, about 0..1; a mask is float32 of shape (HEIGHT, WIDTH), 0..1.
Every painter of a defect changes the picture in place and returns the mask of what it touched, from which the tight box is measured.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 256, 192
Picture = npt.NDArray[np.float32]
Painter = Callable[[Picture, np.random.Generator, tuple[float, float]], Picture]
SUBPIXEL = 4  # fractional bits of the coordinates that cv2 draws with

YY, XX = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)


# --- grounds: one a source -------------------------------------------------------------------------------------------


def brushed(rng: np.random.Generator) -> Picture:
    """Bright brushed steel: fine horizontal grain, light from the left."""
    grain = _unit(cv2.blur(_noise(rng), (61, 1))) * 0.035 + _unit(cv2.blur(_noise(rng), (15, 1))) * 0.02
    light = 1.1 - 0.32 * XX / WIDTH + 0.05 * YY / HEIGHT
    return _tinted((0.64 + grain) * light, (1.03, 1.0, 0.97))


def cast(rng: np.random.Generator) -> Picture:
    """Grey-brown sand casting: speckle at three scales, light from above with dark corners."""
    speckle = sum((_octave(rng, size) * weight for size, weight in ((2, 0.04), (5, 0.026), (40, 0.03))), np.float32(0))
    radius = np.hypot((XX - WIDTH * 0.5) / WIDTH, (YY - HEIGHT * 0.4) / HEIGHT)
    return _tinted((0.5 + speckle) * (1.12 - 0.62 * radius**2), (0.9, 1.0, 1.1))


def milled(rng: np.random.Generator) -> Picture:
    """Dark blue-green milled plate: arcs of the cutter, a spot of light at the lower right."""
    x0, y0 = rng.uniform(-120, -40), rng.uniform(60, 130)
    radius = np.hypot(XX - x0, YY - y0) + _octave(rng, 40) * 0.6
    ridges = np.abs(np.sin(radius * (np.pi / rng.uniform(6.5, 8.5)))) ** 0.6 - 0.7
    light = 0.72 + 0.5 * np.exp(-(((XX - 190) / 130) ** 2) - ((YY - 130) / 110) ** 2)
    return _tinted((0.36 + ridges * 0.09 + _noise(rng) * 0.018) * light, (1.16, 1.08, 0.8))


# --- clutter: what a detector must learn to leave alone --------------------------------------------------------------


def clutter(picture: Picture, rng: np.random.Generator) -> None:
    """Add dust, faint tool marks and, now and then, a drilled hole or a stamped number."""
    for _ in range(rng.integers(2, 9)):
        _dust(picture, rng)
    for _ in range(rng.integers(0, 3)):
        _tool_mark(picture, rng)
    if rng.random() < 0.22:
        _hole(picture, rng)
    if rng.random() < 0.25:
        _stamp(picture, rng)


def _dust(picture: Picture, rng: np.random.Generator) -> None:
    mask = _disc(rng.uniform(4, WIDTH - 4), rng.uniform(4, HEIGHT - 4), rng.uniform(0.6, 1.6))
    _blend(picture, mask * 0.7, rng.choice([0.12, 0.9]))


def _tool_mark(picture: Picture, rng: np.random.Generator) -> None:
    start = rng.uniform((0, 0), (WIDTH, HEIGHT))
    angle, length = rng.uniform(0, np.pi), rng.uniform(20, 60)
    mask = _polyline(np.array([start, start + length * np.array([np.cos(angle), np.sin(angle)])]), 1)
    _blend(picture, cv2.GaussianBlur(mask, (3, 3), 0.8) * rng.uniform(0.12, 0.32), rng.choice([0.1, 0.95]))


def _hole(picture: Picture, rng: np.random.Generator) -> None:
    x, y, radius = rng.uniform(20, WIDTH - 20), rng.uniform(20, HEIGHT - 20), rng.uniform(6, 10)
    _blend(picture, _disc(x + 0.8, y + 0.8, radius + 1.6) * 0.55, 0.95)
    _blend(picture, _disc(x, y, radius) * 0.92, 0.05)


def _stamp(picture: Picture, rng: np.random.Generator) -> None:
    text = f"{rng.choice(list('ABKR'))}{rng.integers(100, 1000)}"
    origin = (int(rng.integers(8, WIDTH - 70)), int(rng.integers(22, HEIGHT - 8)))
    ink = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.putText(ink, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1, cv2.LINE_AA)
    mask = _as_mask(ink) / np.float32(255)
    _blend(picture, np.roll(mask, 1, axis=(0, 1)) * 0.35, 0.95)
    _blend(picture, mask * 0.5, 0.12)


# --- defects: each returns the mask of what it touched ---------------------------------------------------------------


def scratch(picture: Picture, rng: np.random.Generator, center: tuple[float, float]) -> Picture:
    """A long, smooth, slightly bent bright line with a dark flank."""
    angle, length = rng.uniform(0.25, 1.3) * rng.choice([-1, 1]), rng.uniform(32, 80)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    steps = np.linspace(-0.5, 0.5, 24)[:, None]
    points = np.array(center) + steps * length * along + (0.25 - steps**2) * rng.uniform(-14, 14) * across
    core = _as_mask(cv2.GaussianBlur(_polyline(points, int(rng.integers(1, 3))), (3, 3), 0.6))
    strength = rng.uniform(0.45, 0.9)
    _blend(picture, np.roll(core, (1, 1), axis=(0, 1)) * 0.6 * strength, 0.08)
    _blend(picture, core * strength, 1.0)
    return core


def dent(picture: Picture, rng: np.random.Generator, center: tuple[float, float]) -> Picture:
    """A shallow bowl: shade on the side of the light, glint on the other; no colour of its own."""
    rx, ry = rng.uniform(9, 19), rng.uniform(9, 17)
    dx, dy = (XX - center[0]) / rx, (YY - center[1]) / ry
    bowl = np.exp(-((dx**2 + dy**2) ** 2) * 1.2)
    slope = (dx + dy) * bowl
    picture += (slope * rng.uniform(0.17, 0.4) - bowl * 0.04)[..., None]
    return _as_mask(bowl)


def stain(picture: Picture, rng: np.random.Generator, center: tuple[float, float]) -> Picture:
    """A dried splash: an irregular brown film with a darker rim."""
    reach = np.hypot((XX - center[0]) / rng.uniform(13, 30), (YY - center[1]) / rng.uniform(12, 24))
    level = 1.0 - reach + _octave(rng, 14) * 0.16 + _octave(rng, 6) * 0.05
    film: Picture = _as_mask(0.5 + 0.5 * np.tanh(level * 8))
    film[reach > 1.8] = 0  # no islands far from the splash
    rim = film * np.exp(-((level / 0.16) ** 2))
    strength = float(rng.uniform(0.35, 0.8))
    picture *= 1 - strength * film[..., None] * np.array([0.72, 0.48, 0.2], np.float32)
    picture *= 1 - 0.45 * strength * rim[..., None]
    return film


def crack(picture: Picture, rng: np.random.Generator, center: tuple[float, float]) -> Picture:
    """A dark, jagged, branching line."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(30, 62)
    spine = _jagged(rng, np.array(center) - 0.5 * length * np.array([np.cos(angle), np.sin(angle)]), angle, length)
    mask = _polyline(spine, int(rng.integers(1, 3)))
    for knot in rng.choice(len(spine) - 2, size=int(rng.integers(1, 4)), replace=False) + 1:
        turn = angle + rng.uniform(0.5, 1.1) * rng.choice([-1, 1])
        mask = np.maximum(mask, _polyline(_jagged(rng, spine[knot], turn, length * rng.uniform(0.2, 0.4)), 1))
    _blend(picture, np.roll(mask, (1, 1), axis=(0, 1)) * 0.25, 0.95)
    _blend(picture, mask * rng.uniform(0.4, 0.92), 0.03)
    return mask


def _jagged(rng: np.random.Generator, start: npt.NDArray[np.float64], angle: float, length: float) -> npt.NDArray[np.float64]:
    count = max(3, int(length / 5))
    angles = angle + rng.normal(0, 0.65, count)
    steps = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (length / count)
    return np.vstack([start, start + np.cumsum(steps, axis=0)])


# --- strokes and noise -----------------------------------------------------------------------------------------------


def _noise(rng: np.random.Generator) -> Picture:
    return rng.standard_normal((HEIGHT, WIDTH), dtype=np.float32)


def _octave(rng: np.random.Generator, size: int) -> Picture:
    """Smooth noise with features of about `size` pixels, unit variance."""
    coarse = rng.standard_normal((HEIGHT // size + 3, WIDTH // size + 3), dtype=np.float32)
    return _unit(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))


def _unit(values: npt.ArrayLike) -> Picture:
    field = np.asarray(values, np.float32)
    return _as_mask((field - field.mean()) / field.std())


def _as_mask(values: npt.ArrayLike) -> Picture:
    return np.asarray(values, np.float32)


def _tinted(grey: npt.ArrayLike, tint: tuple[float, float, float]) -> Picture:
    return _as_mask(np.asarray(grey)[..., None] * np.array(tint, np.float32))


def _blend(picture: Picture, mask: npt.ArrayLike, tone: float) -> None:
    alpha = _as_mask(mask)[..., None]
    picture *= 1 - alpha
    picture += alpha * tone


def _disc(x: float, y: float, radius: float) -> Picture:
    return _as_mask(np.clip(radius + 0.5 - np.hypot(XX - x, YY - y), 0, 1))


def _polyline(points: npt.NDArray[np.float64], thickness: int) -> Picture:
    ink = np.zeros((HEIGHT, WIDTH), np.uint8)
    fixed = np.round(points * 2**SUBPIXEL).astype(np.int32)
    cv2.polylines(ink, [fixed.reshape(-1, 1, 2)], False, 255, thickness, cv2.LINE_AA, SUBPIXEL)
    return _as_mask(ink) / np.float32(255)
