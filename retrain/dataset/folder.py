"""An export in any format: every file of a folder that ultralytics reads, made one after the other, and a manifest that accounts for all.

The same for our labels and for tasks of any Label Studio: both come as samples.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.drawing import Drawing, Joint
from retrain.dataset import coco
from retrain.dataset.format import Format
from retrain.dataset.lines import Names, Written, places_of, write

FOLDERS = {"train": "train", "replay": "train", "holdout": "holdout"}
BOOKS = {"train": "annotations/instances_train", "holdout": "annotations/instances_val"}  # COCO's files
NO_HOLDOUT = "There is no holdout: val is the training images, so what is measured on it says nothing about new images."
NO_TRAINING = "There are no training images: train is the holdout."
UNUSABLE = "nothing of what was drawn can be used"


@dataclass(frozen=True, slots=True)
class File:
    """One file of the folder: its name there, and its content, or the file that it is a copy of; `linked`: that it may be another name of."""

    name: str
    content: bytes | Path
    linked: bool = False

    def put(self, root: Path) -> None:
        target = os.path.join(root, self.name)  # noqa: PTH118  ten thousand of them: pathlib takes as long as the writing
        try:
            self._write(target)
        except FileNotFoundError:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            self._write(target)

    def _write(self, target: str) -> None:
        if isinstance(self.content, Path):
            if self.linked and _link(self.content, target):
                return
            shutil.copyfile(self.content, target)
        else:
            with open(target, "wb", buffering=0) as stream:  # noqa: PTH123
                stream.write(self.content)


def folder_of(label: str) -> str:
    """A label as the name of a folder: one, and none that leads elsewhere."""
    name = quote(label, safe=" ")
    return name if name.strip(".") else name.replace(".", "%2E")


def _link(source: Path, target: str) -> bool:
    """Another name for a file; False where the file system has none. FileNotFoundError without the folder."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and what was drawn on it. `name` is its files' without suffix, `image` says which it is: its SHA-256, or its address.

    `picture` is its upright file and `suffix` that file's, None where images are left out; `told` is what else the manifest says of it.
    """

    task: Any
    name: str
    image: str
    split: str
    drawing: Drawing
    picture: bytes | Path | None = None
    suffix: str = ""
    source: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Excluded:
    """A task or label that does not enter, and why. `regions` is how many were drawn on it."""

    task: Any
    image: str | None
    reason: str
    regions: int = 0
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Folder:
    """What an export is written with: format, class ids, skeleton; and what it has written so far."""

    form: Format
    classes: ClassMap
    joints: Sequence[Joint] = ()
    told: Mapping[str, Any] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    boxes: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    coco: dict[str, coco.Book] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._names = Names(self.classes)
        self._digest = hashlib.sha256(json.dumps([self.form, self.classes.digest]).encode())

    def files(self, found: Iterable[Sample | Excluded]) -> Iterator[File]:
        """Every file; data.yaml and the manifest, which accounts for each sample, come last."""
        for one in found:
            if isinstance(one, Excluded):
                self._leave_out(one)
            else:
                yield from self._files_of(one)
        yield from self._index()

    def _files_of(self, sample: Sample) -> Iterator[File]:
        kept = write(self.form, sample.drawing, self._names, self.joints)
        reason = self._objection(sample, kept)
        if reason:
            told = {**sample.told, "dropped": _dropped(kept)}
            self._leave_out(Excluded(sample.task, sample.image, reason, sample.drawing.regions, told))
            return
        image, labels = self._places(sample, kept)
        self._note(sample, kept, image, labels)
        if sample.picture is not None and image:
            yield File(image, sample.picture)
        if labels:
            yield File(labels, kept.text.encode())

    def _objection(self, sample: Sample, kept: Written) -> str:
        """Why a sample cannot be written: an image on which something was drawn is no background."""
        if self.form is Format.cls:
            return "" if len(kept.labels) == 1 else "several choices" if kept.labels else "no choice was made"
        if sample.drawing.regions and not kept.labels:
            return f"{UNUSABLE}: {', '.join(sorted({one.reason for one in kept.exclusions}))}"
        return ""

    def _places(self, sample: Sample, kept: Written) -> tuple[str | None, str | None]:
        """Where the sample's image and label file go."""
        split = FOLDERS[sample.split]
        if self.form is Format.cls:
            part = "val" if split == "holdout" else split  # ultralytics looks for it by this name
            return f"{part}/{folder_of(kept.labels[0])}/{sample.name}{sample.suffix}", None
        image = f"images/{split}/{sample.name}{sample.suffix}" if sample.picture is not None else None
        return image, f"labels/{split}/{sample.name}.txt"

    def _note(self, sample: Sample, kept: Written, image: str | None, labels: str | None) -> None:
        entry = {
            "task": sample.task,
            "image": sample.image,
            "status": "labeled" if kept.labels else "background",
            "labels": labels,
            "file": image,
            "split": sample.split,
            **({"source": sample.source} if sample.source else {}),
            "regions_in": sample.drawing.regions,
            "regions_out": kept.regions,
            "dropped": _dropped(kept),
            **sample.told,
        }
        if self.form is Format.cls:
            entry |= {"class": kept.labels[0], "regions_in": sample.drawing.regions + len(sample.drawing.choices)}
        self.entries.append(entry)
        self.boxes.update(kept.labels)
        if sample.source:
            self.sources[sample.source] += 1
        self._digest.update(f"{sample.name} {sample.split} {kept.labels if self.form is Format.cls else kept.text}\n".encode())
        if self.form is Format.coco:
            book = self.coco.setdefault(FOLDERS[sample.split], coco.Book(self._names, self.joints))
            book.add(f"{FOLDERS[sample.split]}/{sample.name}{sample.suffix}", sample.drawing.size, kept.posed)

    def _leave_out(self, one: Excluded) -> None:
        same = {
            "task": one.task,
            "image": one.image,
            "status": "excluded",
            "reason": one.reason,
            "labels": None,
            "file": None,
            "split": None,
        }
        self.entries.append({**same, "regions_in": one.regions, "regions_out": 0, "dropped": [], **one.told})

    def _index(self) -> Iterator[File]:
        for part, book in sorted(self.coco.items()):
            yield File(f"{BOOKS[part]}.json", book.dump())
        # JSON is YAML; without `path`, folders count from data.yaml, so the dataset may move.
        yield File("data.yaml", (json.dumps(self._data(), indent=1, ensure_ascii=False) + "\n").encode())
        yield File("manifest.json", self._manifest())

    def _parts(self) -> tuple[str, str]:
        """Folders to train on and to judge by; ultralytics demands both, and nothing is chosen by the second."""
        there = {FOLDERS[entry["split"]] for entry in self.entries if entry["split"]}
        judged = "holdout" if "holdout" in there else "train"
        return "train" if "train" in there else judged, judged

    @property
    def note(self) -> str | None:
        """What a person should know before they trust what is measured on it."""
        trained, judged = self._parts()
        return NO_HOLDOUT if judged == "train" else NO_TRAINING if trained != "train" else None

    def _data(self) -> dict[str, Any]:
        """What ultralytics is told."""
        places = {"train": "train", "holdout": "val"} if self.form is Format.cls else {part: f"images/{part}" for part in BOOKS}
        trained, judged = self._parts()
        data: dict[str, Any] = {"train": places[trained], "val": places[judged], "names": list(self.classes.labels)}
        if self.form is Format.pose:
            names = {number: coco.point_names(label, self.joints) for number, label in enumerate(self.classes.labels)}
            data |= {"kpt_shape": [places_of(self.joints), 3], "kpt_names": names}
        return data | ({"note": self.note} if self.note else {})

    def head(self) -> dict[str, Any]:
        """The manifest without its items."""
        return {
            "format": self.form.value,
            "content_hash": self._digest.hexdigest(),
            "names": list(self.classes.labels),
            "class_map": self.classes.digest,
            "note": self.note,
            **self.told,
            "counts": self.counts(),
        }

    def _manifest(self) -> bytes:
        """JSON with a line for each item: ten thousand of them can be read, compared and searched by line."""
        items = ",\n".join(map(json.JSONEncoder(ensure_ascii=False).encode, self.entries))
        return (json.dumps(self.head(), indent=1, ensure_ascii=False)[:-2] + f',\n "items": [\n{items}\n ]\n}}\n').encode()

    def counts(self) -> dict[str, Any]:
        """Images by split, objects by class, images by source, what was left out."""
        status = Counter(entry["status"] for entry in self.entries)
        return {
            "images": dict(sorted(Counter(entry["split"] for entry in self.entries if entry["split"]).items())),
            "boxes": dict(sorted(self.boxes.items())),
            "sources": dict(sorted(self.sources.items())),
            "background": status["background"],
            "excluded": status["excluded"],
            "regions_dropped": sum(len(entry["dropped"]) for entry in self.entries),
        }


def _dropped(kept: Written) -> list[dict[str, str]]:
    return [{"region_id": one.region_id, "reason": one.reason} for one in kept.exclusions]
