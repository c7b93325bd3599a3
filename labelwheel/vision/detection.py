"""What a model found and what a person drew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labelwheel.vision.geometry import Box


@dataclass(frozen=True)
class Detection:
    """One object that a model found: its label, its box in pixels and the model's confidence (0–1)."""

    label: str
    box: Box
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """JSON form: box to a hundredth of a pixel, confidence to five places."""
        return {
            "label": self.label,
            "box": [round(edge, 2) for edge in self.box.as_tuple()],
            "confidence": round(self.confidence, 5),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Detection:
        """Inverse of `as_dict`, up to its rounding."""
        return cls(str(data["label"]), Box(*map(float, data["box"])), float(data["confidence"]))


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
