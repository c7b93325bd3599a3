"""Which number stands for which label. Append-only: a number never changes its meaning, so old weights stay readable.

A name does not change its meaning either. A renamed class keeps its number, and its former name goes on meaning it; the number of a class
that was merged into another, or removed, is retired and given to nobody again. So whatever was drawn or detected under any name that ever
was is read by `read`, and nothing that is stored has to be rewritten.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labelwheel.errors import ModelError

Json = dict[str, Any]


@dataclass(frozen=True)
class ClassMap:
    """Labels in the order of their class ids. Raises ModelError when a label is empty or occurs twice.

    `retired` leads from each id that is in use no more to the id that took it in, or to None when the class was removed; `former` from each
    name that a class had before to its id.
    """

    labels: tuple[str, ...] = ()
    retired: Mapping[int, int | None] = field(default_factory=dict, hash=False)
    former: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels) or not all(self.labels):
            raise ModelError(f"The class map has empty or repeated labels: {list(self.labels)}.", "Give every class one name of its own.")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def active(self) -> tuple[str, ...]:
        """The labels in use, in the order of their ids."""
        return tuple(label for class_id, label in enumerate(self.labels) if class_id not in self.retired)

    def read(self, label: str) -> str | None:
        """The label in use that a name means today; None for a class that was removed, and for a name that never was."""
        class_id = self._id(label)
        while class_id is not None and class_id in self.retired:
            class_id = self.retired[class_id]
        return None if class_id is None else self.labels[class_id]

    def knows(self, label: str) -> bool:
        """Whether a class has or had this name."""
        return self._id(label) is not None

    def today(self, label: str) -> str | None:
        """As `read`, but a name that no class has or had stays: it is somebody else's."""
        return self.read(label) if self.knows(label) else label

    def told(self, label: str) -> str:
        """What people are told of a name that something was drawn or detected under: what its class is called today, and that name."""
        now = self.today(label)
        return label if now == label else f"{label} (removed)" if now is None else f"{now} (drawn as {label})"

    @property
    def changed(self) -> bool:
        """Whether any class was ever renamed, merged or removed."""
        return bool(self.retired or self.former)

    def named(self, label: str) -> str:
        """What the class of this id is called today, in use or not: by this, rows of old weights are found. Other names stay as they are."""
        class_id = self._id(label)
        return label if class_id is None else self.labels[class_id]

    def why_not(self, label: str) -> str:
        """Why nothing is read of a name."""
        return f"class {label!r} was removed" if self.knows(label) else f"class {label!r} is not in the class map"

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
        """With the labels that are new appended in their order; what is known, under whatever name, keeps its place."""
        new = [label for label in dict.fromkeys(labels) if not self.knows(label)]
        return ClassMap((*self.labels, *new), self.retired, self.former)

    def as_dict(self) -> Json:
        """JSON form."""
        told = {"retired": [list(pair) for pair in self.retired.items()], "former": dict(self.former)}
        return {"labels": list(self.labels), **{name: value for name, value in told.items() if value}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ClassMap:
        """Inverse of `as_dict`."""
        return cls(tuple(data["labels"]), dict(data.get("retired", [])), dict(data.get("former", {})))

    @classmethod
    def of(cls, labels: Sequence[str], changes: Iterable[Mapping[str, Any]]) -> ClassMap:
        """The labels of a version, and all changes up to it, as `labelwheel.vision.class_change` writes them."""
        retired: dict[int, int | None] = {}
        former: dict[str, int] = {}
        for change in changes:
            for class_id in change.get("retired", []):
                retired[class_id] = change.get("id") if change["what"] == "merged" else None
            if change["what"] == "restored":
                retired.pop(change["id"], None)
            for name in change.get("formerly", []):
                former[name] = change["id"]
        return cls(tuple(labels), retired, {name: class_id for name, class_id in former.items() if name not in labels})

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the map: equal exactly when the maps are."""
        content = json.dumps(self.as_dict() if self.retired or self.former else self.labels, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def _id(self, label: str) -> int | None:
        return self.labels.index(label) if label in self.labels else self.former.get(label)


@dataclass(frozen=True, slots=True)
class Common:
    """What two models can be compared on: the classes in use that `both` know, in the order of their ids, and those that only one knows."""

    both: tuple[str, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]


def common(classes: ClassMap, first: Iterable[str], second: Iterable[str]) -> Common:
    """What two models have in common; each is given by its labels, under the names that these had when it was trained. Pure."""
    mine, theirs = ({classes.read(label) for label in labels} for labels in (first, second))
    return Common(
        tuple(label for label in classes.active if label in mine & theirs),
        tuple(label for label in classes.active if label in mine - theirs),
        tuple(label for label in classes.active if label in theirs - mine),
    )
