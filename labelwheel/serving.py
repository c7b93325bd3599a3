"""What serves: the detectors of the newest deployments, and the predictions that they stored.

Every process follows the `deployment` table by itself, so a deployment or rollback is served everywhere within
`LOOK_SECONDS` plus the time to load the file; requests under way finish with the detector they began with.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from labelwheel.ahead import ahead
from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import DEFAULT_TAG, Deployment, Image, Prediction, Project
from labelwheel.errors import ExpiredError, InputError, LabelwheelError, ModelError
from labelwheel.memory import give_back
from labelwheel.project import current_classes
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision import image as vision_image
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.class_view import seen_as
from labelwheel.vision.detection import Detection
from labelwheel.vision.detector import Detected, Detector
from labelwheel.vision.label_config import CHAMPION, Slot, parse, shown_tags

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
UNCHANGED = ClassMap()


@dataclass(frozen=True, slots=True)
class Served:
    """One deployed model, loaded. `served_as` is the name of this deployment; `classes` says what its classes are called today."""

    deployment_id: int
    project_id: int
    model_version_id: int
    served_as: str
    detector: Detector
    classes: ClassMap = UNCHANGED

    def seen(self, detections: Sequence[Detection]) -> list[Detection]:
        """What the model found, under today's names of its classes."""
        return seen_as(detections, self.classes)

    def stored(self, prediction: Prediction) -> list[Detection]:
        """What it found when it looked."""
        return self.seen(detections_of(prediction))


@dataclass(frozen=True, slots=True)
class LineUp:
    """The models that make a pre-annotation together: the champion, and those that tags name. A slot where nothing was deployed is absent."""

    models: Mapping[Slot, Served]

    @property
    def champion(self) -> Served:
        return self.models[CHAMPION]

    @property
    def served_as(self) -> str:
        """The `model_version` that Label Studio sees: the champion's name stands for all."""
        return self.champion.served_as


def newest_deployment(session: Session, project_id: int, slot: Slot = CHAMPION) -> Deployment | None:
    """The row that says what serves in a slot; None while nothing was ever deployed there."""
    tag, role = slot.name or DEFAULT_TAG, slot.alias
    query = select(Deployment).where(Deployment.project_id == project_id, Deployment.tag == tag, Deployment.role == role)
    return session.scalar(query.options(joinedload(Deployment.model_version)).order_by(Deployment.id.desc()).limit(1))


def newest_line_up(session: Session, project_id: int) -> dict[Slot, Deployment]:
    """The rows that say what serves in the slots that the project's label config speaks of; empty while there is no champion."""
    config = session.scalar(select(Project.label_config).where(Project.id == project_id)) or ""
    rows = {slot: newest_deployment(session, project_id, slot) for slot in slots(config)}
    return {slot: row for slot, row in rows.items() if row} if rows[CHAMPION] else {}


@lru_cache(8)
def slots(label_config: str) -> tuple[Slot, ...]:
    """The champion's slot, and those that tags name."""
    try:
        tags = shown_tags(parse(label_config))
    except InputError:  # cameras are answered without one
        tags = ()
    return tuple(dict.fromkeys([CHAMPION, *(tag.slot for tag in tags)]))


class Follower:
    """Follows the deployments of one project in this process. All models of a line-up change at once."""

    def __init__(self, database: Database, settings: Settings, project_id: int) -> None:
        self._database = database
        self._settings = settings
        self._project_id = project_id
        self._lock = threading.Lock()
        self._line_up: LineUp | None = None
        self._looked = float("-inf")
        self._leaving: list[weakref.ref[Detector]] = []

    def current(self) -> LineUp | None:
        """The served models, at most `LOOK_SECONDS` old; None while there is no champion. Raises ModelError for a broken file."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return self._line_up
        if not self._lock.acquire(blocking=self._line_up is None):
            return self._line_up  # another request is loading the successor: keep answering with the old one
        try:
            return self._follow()
        finally:
            self._lock.release()

    def _follow(self) -> LineUp | None:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return self._line_up
        with self._database.read() as session:
            rows, classes = newest_line_up(session, self._project_id), current_classes(session, self._project_id)
        self._give_back()
        if rows and {slot: row.id for slot, row in rows.items()} != _ids(self._line_up):
            before, self._line_up = self._line_up, self._successor(rows, classes)
            self._leaving = _leaving(before, self._line_up)
        self._looked = time.monotonic()  # after loading: requests that come during the first load wait for it
        return self._line_up

    def _give_back(self) -> None:
        """What the models held that left, when the last request has let go of them."""
        if self._leaving and not any(detector() for detector in self._leaving):
            self._leaving = []
            give_back()

    def _successor(self, rows: Mapping[Slot, Deployment], classes: ClassMap) -> LineUp:
        try:
            return load_line_up(rows, self._settings, classes, self._line_up)
        except ModelError as error:
            if self._line_up is None:
                raise  # nothing to fall back on: every request looks again, and says so
            log.error("successor broken, the old models serve on", served_as=rows[CHAMPION].served_as, error=error.message)
            return self._line_up


def _leaving(before: LineUp | None, after: LineUp | None) -> list[weakref.ref[Detector]]:
    staying = {id(served.detector) for served in after.models.values()} if after else set()
    served = before.models.values() if before else ()
    return [weakref.ref(one.detector) for one in served if id(one.detector) not in staying]


def _ids(line_up: LineUp | None) -> dict[Slot, int]:
    return {slot: served.deployment_id for slot, served in line_up.models.items()} if line_up else {}


def load_line_up(rows: Mapping[Slot, Deployment], settings: Settings, classes: ClassMap, present: LineUp | None = None) -> LineUp:
    """Load the models of `newest_line_up`; one that `present` has loaded is not loaded again. Raises ModelError.

    `classes` are the champion's of today; other models speak for themselves.
    """
    loaded = {served.model_version_id: served.detector for served in present.models.values()} if present else {}
    models: dict[Slot, Served] = {}
    for slot, row in rows.items():
        mine = classes if slot == CHAMPION else UNCHANGED
        known = loaded.get(row.model_version_id)
        models[slot] = _served(row, known, mine) if known else load(row, settings, mine)
        loaded[row.model_version_id] = models[slot].detector
    return LineUp(models)


def load(row: Deployment, settings: Settings, classes: ClassMap = UNCHANGED) -> Served:
    """Load the ONNX file of a deployment; ModelError when it is missing or broken."""
    path = model_path(row.model_version.onnx_uri, settings)
    if not path.is_file():
        title = row.model_version.title
        cure = f"`labelwheel model deploy {title} --note …` brings MLflow's copy back; else restore it from a backup, or `labelwheel rollback`."
        raise ModelError(f"The file of {title} is gone: {path.name}.", cure)
    return _served(row, Detector(path, threads=settings.detector_threads), classes)


def _served(row: Deployment, detector: Detector, classes: ClassMap) -> Served:
    return Served(row.id, row.project_id, row.model_version_id, row.served_as, detector, classes)


def model_path(uri: str, settings: Settings) -> Path:
    """A model file's path; uris are relative to `home`, so that the folder can move."""
    return (settings.home / uri).resolve()


def stored_predictions(session: Session, image_ids: Iterable[int], model_version_id: int) -> dict[int, Prediction]:
    """Predictions that are stored already, by image id."""
    wanted = list(image_ids)
    query = select(Prediction).where(Prediction.image_id.in_(wanted), Prediction.model_version_id == model_version_id)
    return {row.image_id: row for row in session.scalars(query)} if wanted else {}


def detections_of(prediction: Prediction) -> list[Detection]:
    """Under the names that its model gave."""
    return [Detection.from_dict(item) for item in prediction.detections]


def predict(database: Database, served: Served, image_id: int, pixels: npt.NDArray[np.uint8], threshold: float) -> list[Detection]:
    """Detect on upright BGR pixels and store the outcome; see `store_detected`."""
    return store_detected(database, served, image_id, served.detector.detect(pixels), threshold)


def store_detected(database: Database, served: Served, image_id: int, detected: Detected, threshold: float) -> list[Detection]:
    """Store what was detected under (image, model version); a second time changes nothing. Answers it as it is stored, under today's names."""
    found = [Detection.from_dict(item.as_dict()) for item in detected.detections]  # rounded as it is stored
    shown = [item.confidence for item in found if item.confidence >= threshold]
    row = {
        "image_id": image_id,
        "model_version_id": served.model_version_id,
        "detections": [item.as_dict() for item in found],
        "count": len(shown),
        "top_confidence": max(shown, default=None),
        "embedding": None if detected.embedding is None else detected.embedding.astype(np.float16).tobytes(),
    }
    with database.write() as session:
        insert_absent(session, Prediction, [row])
    return served.seen(found)


def predict_stored(database: Database, served: Served, image: Image, store: ImageStore, settings: Settings) -> list[Detection]:
    """The stored prediction of a stored image, computed first where it is missing."""
    with database.read() as session:
        known = stored_predictions(session, [image.id], served.model_version_id)
    if image.id in known:
        return served.stored(known[image.id])
    return predict(database, served, image.id, _pixels(image, store, settings), settings.display_threshold)


def predict_all(
    database: Database, served: Served, images: Sequence[Image], store: ImageStore, settings: Settings
) -> dict[int, list[Detection]]:
    """What the model sees in stored images, by their ids: one query for what is stored, the others looked at with one image on each core.

    An image that cannot be looked at is absent, and named in the log.
    """
    with database.read() as session:
        known = stored_predictions(session, [image.id for image in images], served.model_version_id)
    found = {image_id: served.stored(row) for image_id, row in known.items()}
    missing = [image for image in images if image.id not in known]
    coming = ahead(lambda image: _begin(served, image, store, settings), missing, served.detector.lanes)
    for image, detected in zip(missing, coming, strict=True):
        try:
            found[image.id] = store_detected(database, served, image.id, detected.result(), settings.display_threshold)
        except LabelwheelError as error:
            log.warning("image not looked at", image=image.sha256[:12], error=error.message)
    return found


def _begin(served: Served, image: Image, store: ImageStore, settings: Settings) -> Future[Detected]:
    try:
        return served.detector.submit(_pixels(image, store, settings))
    except LabelwheelError as error:  # whoever reads the future is told
        failed: Future[Detected] = Future()
        failed.set_exception(error)
        return failed


def _pixels(image: Image, store: ImageStore, settings: Settings) -> npt.NDArray[np.uint8]:
    if image.expired_at is not None:
        raise ExpiredError(f"The bytes of image {image.sha256[:12]} expired on {image.expired_at:%Y-%m-%d}.", "Send the image again.")
    return vision_image.decode(store.read(image.uri), max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
