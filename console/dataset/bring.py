"""Bring a dataset in: images as captures of a source, what is drawn on them as reviewed labels. Running it again changes nothing.

Each image is one short transaction, so a run that was killed is simply run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from console.dataset import coco, yolo
from console.dataset.found import Drawn, Found, Sample
from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import Capture, Image, Project, utcnow
from labelwheel.draw import draw, inherit
from labelwheel.erased import refuse_erased
from labelwheel.errors import AlreadyRunning, InputError, LabelwheelError
from labelwheel.lease import HeldLease, hold
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.twins import splits_of_twins
from labelwheel.vision import features, image
from labelwheel.vision.class_match import Matching
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.features import Vector
from labelwheel.vision.image import Pixels
from sync.review.imported import mirror_imported
from sync.review.reading import reading_of

JUDGES = ("val", "test")
LONGEST_ID = 200
RENEW = 20  # images between two renewals of the lease


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user asked for. `holdout`: draw (lots decide, but never about training images), keep (val and test judge) or none."""

    source: str
    holdout: str = "draw"
    as_new: bool = False
    background: bool = False
    captured_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image: imported, known (nothing changed) or skipped; `split` is ours; faults in words."""

    name: str
    status: str
    split: str = ""
    boxes: int = 0
    faults: tuple[str, ...] = ()


def survey(folder: Path) -> Found:
    """What a folder holds. Raises InputError when it is in no layout that we know, or holds no image."""
    root = folder.resolve()
    if not root.is_dir():
        raise InputError(f"{folder} is not a folder.", "Name the folder that holds data.yaml, or COCO files and images.")
    found = yolo.read(root) or coco.read(root)
    if found is None:
        raise InputError(
            f"{folder} is no dataset that we read.", "It needs data.yaml (or classes.txt) with images and labels, or COCO files (JSON)."
        )
    if not found.samples:
        raise InputError(f"{folder} names no image that is there. {'; '.join(found.faults[:3])}", "Keep images and labels in one folder.")
    return found


def bring(database: Database, settings: Settings, project: Project, found: Found, matching: Matching, rules: Rules) -> Iterator[Outcome]:
    """Bring in every image, one after the other; a bad one never stops the rest. Raises AlreadyRunning."""
    with hold(database, f"dataset:{project.id}") as lease:
        if lease is None:
            raise AlreadyRunning(
                "Another dataset is being imported.", "Wait until it has ended; a killed import's lease lapses in two minutes."
            )
        yield from Bringer(database, settings, project, matching, rules).all(found, lease)


class Bringer:
    """One import under way."""

    def __init__(self, database: Database, settings: Settings, project: Project, matching: Matching, rules: Rules) -> None:
        self._database, self._settings, self._project, self._rules = database, settings, project, rules
        self._renamed = matching.renamed
        with database.read() as session:
            self._reading = reading_of(session, project, settings)
        self._store = ImageStore(settings.images_dir)
        self._seen: dict[str, tuple[str, Drawn]] = {}

    def all(self, found: Found, lease: HeldLease) -> Iterator[Outcome]:
        # What was trained on goes first: what looks the same as it inherits its split, and the other way round it may not.
        for number, sample in enumerate(sorted(found.samples, key=lambda sample: sample.split != "train")):
            if number % RENEW == 0:
                lease.renew()
            yield self._one(sample)

    def _one(self, sample: Sample) -> Outcome:
        if sample.draw is None and not self._rules.background:
            return Outcome(sample.name, "skipped", faults=("no label is there for it (`--background`: nothing is on it)",))
        try:
            data = sample.path.read_bytes()
            pixels = image.decode(data, max_bytes=self._settings.max_image_bytes, max_pixels=self._settings.max_image_pixels)
            drawn = sample.draw(pixels.shape[1], pixels.shape[0]) if sample.draw else Drawn()
            return self._taken(sample, data, pixels, replace(drawn, boxes=self._ours(drawn)))
        except (LabelwheelError, OSError, UnicodeError) as error:
            return Outcome(sample.name, "skipped", faults=(getattr(error, "message", None) or str(error),))

    def _ours(self, drawn: Drawn) -> tuple[LabelledBox, ...]:
        return tuple(replace(box, label=self._renamed[box.label]) for box in drawn.boxes if box.label in self._renamed)

    def _taken(self, sample: Sample, data: bytes, pixels: Pixels, drawn: Drawn) -> Outcome:
        sha256 = image.digest(data)
        twin, said = self._seen.setdefault(sha256, (sample.name, drawn))
        if twin != sample.name:
            doubt = () if said.boxes == drawn.boxes else (f"the same image as {twin}, which has other boxes: those count",)
            return Outcome(sample.name, "known", faults=(*drawn.faults, *doubt))
        with self._database.read() as session:
            refuse_erased(session.scalar(select(Image).where(Image.project_id == self._project.id, Image.sha256 == sha256)))
        uri = self._store.put(data, sha256, image.sniff_suffix(data))
        stored = {"sha256": sha256, "width": pixels.shape[1], "height": pixels.shape[0], "size": len(data), "uri": uri}
        arrival = None if self._arrived(sha256) else self._arrival(sample, sha256, pixels)
        with self._database.write() as session:
            row = _image(session, self._project.id, stored)
            if arrival is not None:
                insert_absent(session, Capture, [{**arrival, "image_id": row.id}])
            split = session.scalars(select(Capture.split).where(Capture.image_id == row.id).order_by(Capture.id)).first()
            told = mirror_imported(session, self._project, row, self._reading, drawn.boxes, self._rules.source, as_new=self._rules.as_new)
        self._store.put(data, sha256, image.sniff_suffix(data))  # a retention may have removed it before our row was there
        status = "imported" if told or arrival is not None else "known"
        return Outcome(sample.name, status, split or "", len(drawn.boxes), drawn.faults)

    def _arrived(self, sha256: str) -> bool:
        """The image is known: it keeps its captures and its split, and gets no other."""
        query = (
            select(Capture.id).join(Image, Image.id == Capture.image_id).where(Image.project_id == self._project.id, Image.sha256 == sha256)
        )
        with self._database.read() as session:
            return session.scalar(query.limit(1)) is not None

    def _arrival(self, sample: Sample, sha256: str, pixels: Pixels) -> dict[str, Any]:
        moment = self._rules.captured_at or sample.captured_at or datetime.fromtimestamp(sample.path.stat().st_mtime, UTC)
        descriptor = features.descriptor(pixels).astype(np.float32)
        audited, split, propensity = self._draw(sample, sha256, moment, descriptor)
        return {
            "project_id": self._project.id,
            "source": self._rules.source,
            "external_id": external_id(self._rules.source, sample.name, sha256),
            "captured_at": moment,
            "received_at": utcnow(),
            "features": features.measure(pixels),
            "descriptor": descriptor.tobytes(),
            "split": split,
            "audit": audited,
            "propensity": propensity,
        }

    def _draw(self, sample: Sample, sha256: str, moment: datetime, descriptor: Vector) -> tuple[bool, str, float]:
        """Audit, split and propensity. The weights that come along were trained on the training images: these never judge, nor does, where
        lots decide, what looks the same."""
        if self._rules.holdout == "keep":
            return False, "holdout" if sample.split in JUDGES else "train", 0.0
        if self._rules.holdout == "none" or sample.split == "train":
            return False, "train", 0.0
        drawn = draw(self._project.salt, sha256, self._settings.audit_rate, self._settings.holdout_rate)
        with self._database.read() as session:
            twins = splits_of_twins(session, self._project.id, self._rules.source, moment, descriptor, self._settings.twin_seconds)
        return drawn.audit, inherit(drawn.split, twins), drawn.propensity


def external_id(source: str, name: str, sha256: str) -> str:
    """From where the image lay and from its content: a file that changed is another image, and no id is ever taken twice."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    ending = f"#{sha256[:12]}"
    return f"{source}/{plain[-(LONGEST_ID - len(source) - len(ending) - 1) :]}{ending}"


def _image(session: Session, project_id: int, stored: dict[str, Any]) -> Image:
    insert_absent(session, Image, [{**stored, "project_id": project_id, "created_at": utcnow()}])
    mine = select(Image).where(Image.project_id == project_id, Image.sha256 == stored["sha256"])
    row = session.scalars(mine.with_for_update()).one()  # a retention that judges this image waits, and then sees the label
    refuse_erased(row)
    row.expired_at = None
    return row
