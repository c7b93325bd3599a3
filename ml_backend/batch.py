"""One request's tasks on their way through the models: fetched, decoded, looked at, stored and answered in parallel, in order.

A task that fails or cannot be looked at is answered with nothing, and never fails the others.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from math import inf
from typing import Any

import structlog

from labelwheel.ahead import ahead
from labelwheel.database.tables import Image
from labelwheel.errors import LabelwheelError, TooLate
from labelwheel.resolver.resolve import Found, Loaded
from labelwheel.serving import LineUp, store_detected, stored_predictions
from labelwheel.vision.detection import Detection
from labelwheel.vision.detector import Detected
from labelwheel.vision.image import Pixels
from labelwheel.vision.label_config import ControlTag, Slot
from labelwheel.vision.pre_annotation import Sight, pre_annotation, tags_by_view
from ml_backend.state import State

log = structlog.get_logger(__name__)

Prediction = dict[str, Any]
Task = dict[str, Any]
Known = Mapping[Slot, list[Detection]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of one task: a prediction, or the `code` of the reason why there is none."""

    prediction: Prediction | None
    code: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """An image of a task: what is stored of it, by model, and its pixels where a model is `missing` that has yet to look at it."""

    image: Image
    known: Known
    missing: Sequence[Slot] = ()
    pixels: Pixels | None = None


@dataclass(frozen=True, slots=True)
class Coming:
    """A look, or why there is none, and what the models find that had not seen the image."""

    look: Look | Exception
    detected: Mapping[Slot, Future[Detected]] = field(default_factory=dict)

    def cancel(self) -> None:
        for future in self.detected.values():
            future.cancel()


@dataclass(frozen=True)
class Batch:
    """Tasks of one request. All are answered by the same line-up; after `until` (of `time.monotonic`) only with what is stored already."""

    here: State
    project_id: int
    line_up: LineUp
    tags: Sequence[ControlTag]
    until: float = inf

    def answer(self, tasks: Sequence[Task]) -> list[Answer]:
        """One answer for each task, in order.

        Images are fetched and decoded ahead of the models, and these look ahead of the store, a bounded number at once: so a batch keeps
        every core at work, holds few images in memory, and has few of them in line before those of others.
        """
        keys = self.wanted
        asked = [(task, value_key) for task in tasks for value_key in keys]
        # Half of the fetching threads, so that a large batch from a slow server leaves the other half to others.
        looks = ahead(self._begin, asked, max(1, self.here.settings.image_fetches // 2))
        coming = ahead(self._detect, looks, self.line_up.champion.detector.lanes)
        return [self._answer(task, dict(zip(keys, islice(coming, len(keys)), strict=True))) for task in tasks]

    @cached_property
    def wanted(self) -> dict[str, list[Slot]]:
        """The models that look at each image of a task; empty when none serves that a tag shows."""
        found: dict[str, list[Slot]] = {}
        for value_key, slot in tags_by_view(self.tags):
            if slot in self.line_up.models:
                found.setdefault(value_key, []).append(slot)
        return found

    def _begin(self, asked: tuple[Task, str]) -> Future[Look]:
        """Look at an image. What is stored is there at once, what is near is only decoded: neither waits behind a slow server."""
        (task, value_key), here = asked, self.here
        data = task.get("data")
        value, slots = data.get(value_key) if isinstance(data, dict) else None, self.wanted[value_key]
        try:
            found = here.resolver.peek(value, self.project_id)
            look = self._stored(found, slots) if found else None
        except Exception as error:  # noqa: BLE001  whoever reads the future is told
            return _failed(error)
        if look and not look.missing:
            return _done(look)
        if time.monotonic() >= self.until:
            return _failed(_too_late())
        return here.decoders.submit(self._load, found, slots) if found else here.fetchers.submit(self._fetch, value, slots)

    def _fetch(self, value: object, slots: Sequence[Slot]) -> Look:
        found = self.here.resolver.find(value, self.project_id)
        look = self._stored(found, slots)
        return self._load(found, slots) if look.missing else look

    def _load(self, found: Found, slots: Sequence[Slot]) -> Look:
        loaded = self.here.resolver.load(found)
        return replace(self._stored(loaded, slots), pixels=loaded.pixels)

    def _stored(self, found: Found | Loaded, slots: Sequence[Slot]) -> Look:
        image, models = found.image, self.line_up.models
        with self.here.database.read() as session:
            rows = {slot: stored_predictions(session, [image.id], models[slot].model_version_id).get(image.id) for slot in slots}
        known = {slot: models[slot].stored(row) for slot, row in rows.items() if row}
        return Look(image, known, [slot for slot in slots if slot not in known])

    def _detect(self, future: Future[Look]) -> Coming:
        """Get in line at the models that are missing."""
        try:
            look = _wait(future, self.until)
        except Exception as error:  # noqa: BLE001  the task's answer says it
            return Coming(error)
        pixels = look.pixels
        return Coming(
            look, {slot: self.line_up.models[slot].detector.submit(pixels) for slot in look.missing} if pixels is not None else {}
        )

    def _answer(self, task: Task, coming: Mapping[str, Coming]) -> Answer:
        try:
            return Answer(self._prediction(coming))
        except TooLate as error:
            return Answer(None, error.code)
        except LabelwheelError as error:
            log.warning("task not predicted", task=id_of(task), error=str(error), code=error.code)
            return Answer(None, error.code)
        except Exception:
            log.exception("task not predicted", task=id_of(task))
            return Answer(None, LabelwheelError.code)

    def _prediction(self, coming: Mapping[str, Coming]) -> Prediction:
        sights = {(value_key, slot): sight for value_key, one in coming.items() for slot, sight in self._sights(one).items()}
        return pre_annotation(sights, self.tags, self.line_up.served_as, self.here.settings.display_threshold)

    def _sights(self, coming: Coming) -> dict[Slot, Sight]:
        if isinstance(coming.look, Exception):
            raise coming.look
        image, threshold = coming.look.image, self.here.settings.display_threshold
        found = {
            slot: store_detected(self.here.database, self.line_up.models[slot], image.id, future.result(), threshold)
            for slot, future in coming.detected.items()
        }
        return {slot: Sight(seen, image.width, image.height) for slot, seen in {**coming.look.known, **found}.items()}


def id_of(task: Task) -> int | None:
    """Label Studio's id of a task, as the wire has it; None for what is none."""
    value = task.get("id")
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None


def _wait(look: Future[Look], until: float) -> Look:
    """The look, if it is there in time and leaves time to detect; what is stored is always in time."""
    if not look.done():
        wait([look], None if until == inf else max(until - time.monotonic(), 0))
    if not look.done():
        look.cancel()
        raise _too_late()
    seen = look.result()
    if seen.missing and time.monotonic() >= until:
        raise _too_late()
    return seen


def _done(look: Look) -> Future[Look]:
    future: Future[Look] = Future()
    future.set_result(look)
    return future


def _failed(error: Exception) -> Future[Look]:
    future: Future[Look] = Future()
    future.set_exception(error)
    return future


def _too_late() -> TooLate:
    return TooLate("The batch had no time left for it.", "It is predicted in the background.")
