"""What a model found and what a person drew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from labelwheel.vision.geometry import Box, Rotated


class Point(NamedTuple):
    """A place in pixels."""

    x: float
    y: float


class Keypoint(NamedTuple):
    """One point of a skeleton: its name (its number where the model has no names), its place in pixels, how sure the model is (0–1)."""

    name: str
    x: float
    y: float
    confidence: float


@dataclass(frozen=True)
class Detection:
    """One object that a model found: its label, its box in pixels and the model's confidence (0–1).

    What else a model says of it depends on its task: a turned rectangle, an outline, a skeleton; `box` then encloses these or is the
    model's own. A class of the `whole` image has the frame as its box.
    """

    label: str
    box: Box
    confidence: float
    rotated: Rotated | None = None
    polygon: tuple[Point, ...] = ()
    keypoints: tuple[Keypoint, ...] = ()
    whole: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON form: lengths to a hundredth of a pixel, angles to a hundredth of a degree, confidences to five places."""
        return {"label": self.label, "box": _rounded(self.box.as_tuple()), "confidence": round(self.confidence, 5), **self._more()}

    def _more(self) -> dict[str, Any]:
        """What a plain box does not have."""
        found = {
            "rotated": self.rotated and _rounded(self.rotated.as_tuple()),
            "polygon": [_rounded(point) for point in self.polygon],
            "keypoints": [[point.name, *_rounded((point.x, point.y)), round(point.confidence, 5)] for point in self.keypoints],
            "whole": self.whole,
        }
        return {name: value for name, value in found.items() if value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Detection:
        """Inverse of `as_dict`, up to its rounding."""
        return cls(
            str(data["label"]),
            Box(*map(float, data["box"])),
            float(data["confidence"]),
            Rotated(*map(float, data["rotated"])) if data.get("rotated") else None,
            tuple(Point(*map(float, point)) for point in data.get("polygon", ())),
            tuple(Keypoint(str(name), *map(float, rest)) for name, *rest in data.get("keypoints", ())),
            bool(data.get("whole", False)),
        )


def _rounded(values: tuple[float, ...]) -> list[float]:
    return [round(value, 2) for value in values]


@dataclass(frozen=True)
class LabelledBox:
    """One box of an annotation. `origin` is Label Studio's: prediction (untouched), prediction-changed, manual, or empty."""

    label: str
    box: Box
    region_id: str = ""
    origin: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON form. The box keeps its precision: it is what we train and score on."""
        return {"label": self.label, "box": list(self.box.as_tuple()), "region_id": self.region_id, "origin": self.origin}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LabelledBox:
        """Inverse of `as_dict`."""
        return cls(str(data["label"]), Box(*map(float, data["box"])), str(data.get("region_id", "")), str(data.get("origin", "")))
