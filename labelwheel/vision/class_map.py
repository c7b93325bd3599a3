"""Which number stands for which label. Append-only: a number never changes its meaning, so old weights stay readable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labelwheel.errors import ModelError


@dataclass(frozen=True)
class ClassMap:
    """Labels in the order of their class ids. Raises ModelError when a label is empty or occurs twice."""

    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels) or not all(self.labels):
            raise ModelError(f"The class map has empty or repeated labels: {list(self.labels)}.", "Give every class one name of its own.")

    def __len__(self) -> int:
        return len(self.labels)

    def id_of(self, label: str) -> int:
        """Class id of a label; ModelError if the map does not hold it."""
        try:
            return self.labels.index(label)
        except ValueError:
            raise ModelError(
                f"The class map has no label {label!r}; it has {list(self.labels)}.", "Extend the class map before using the label."
            ) from None

    def label_of(self, class_id: int) -> str:
        """Label of a class id; ModelError if it is out of range."""
        if not 0 <= class_id < len(self.labels):
            raise ModelError(
                f"The class map has no id {class_id}; it has {len(self.labels)} classes.",
                "Use the class map that the model was trained with.",
            )
        return self.labels[class_id]

    def extended(self, labels: Iterable[str]) -> ClassMap:
        """With the labels that are new appended in their order; what is known keeps its place."""
        return ClassMap(tuple(dict.fromkeys((*self.labels, *labels))))

    def as_dict(self) -> dict[str, list[str]]:
        return {"labels": list(self.labels)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ClassMap:
        """Inverse of `as_dict`."""
        return cls(tuple(data["labels"]))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the ordered labels: equal exactly when the maps are."""
        return hashlib.sha256(json.dumps(self.labels).encode()).hexdigest()
