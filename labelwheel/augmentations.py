"""Settings that turn training images about: `fliplr=0 degrees=10`. Names and meanings are ultralytics'."""

from __future__ import annotations

import math

RANGES = {  # name → largest value; the smallest is 0
    "degrees": 180.0,
    "fliplr": 1.0,
    "flipud": 1.0,
    "hsv_h": 1.0,
    "hsv_s": 1.0,
    "hsv_v": 1.0,
    "mixup": 1.0,
    "mosaic": 1.0,
    "perspective": 0.001,
    "scale": 1.0,
    "shear": 90.0,
    "translate": 1.0,
}


def read_augmentations(text: str) -> dict[str, float]:
    """Strength by name, separated by blanks. ValueError naming the entry that cannot be read."""
    return dict(_read(entry) for entry in text.split())


def _read(entry: str) -> tuple[str, float]:
    name, _, number = entry.partition("=")
    try:
        strength = float(number)
    except ValueError:
        strength = math.nan
    if not 0 <= strength <= RANGES.get(name, -1.0):
        known = ", ".join(f"{known} (0 to {most:g})" for known, most in RANGES.items())
        raise ValueError(f"{entry!r} is no augmentation with its strength, such as fliplr=0.5; known are {known}")
    return name, strength
