"""Our model behind the class interface of label-studio-ml 2.x: `predict(tasks, context) -> one list of predictions per task`.

The protocol module calls it, and the official server can host it (`LabelStudioMLBase` hands over the same arguments). A task
that fails or cannot be looked at is answered `[]`: nothing is stored and it is asked for again. An empty `result` would mean
"the model looked and saw nothing" and be kept for ever.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import structlog

from labelwheel.database.tables import Image, Project
from labelwheel.errors import LabelwheelError, TooLate
from labelwheel.resolver.resolve import Found, Loaded
from labelwheel.serving import Served, detections_of, predict, stored_predictions
from labelwheel.vision.detection import Detection
from labelwheel.vision.label_config import parse, shown_tags
from labelwheel.vision.regions import prediction_score, to_regions
from ml_backend.ahead import ahead
from ml_backend.state import State

log = structlog.get_logger(__name__)

NO_MODEL, SKIPPED = "no_model", "model_skip"

Prediction = dict[str, Any]
Task = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """An image of which the served model's detections are stored already."""

    image: Image
    detections: list[Detection]


Look = Stored | Loaded


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of one task: a prediction, or the `code` of the reason why there is none."""

    prediction: Prediction | None
    code: str = ""


class DetectorModel:
    """Pre-annotations of one request: stateless beyond what the process shares."""

    def __init__(self, here: State, project: Project, label_config: str) -> None:
        self._here = here
        self._project = project
        self._tags = shown_tags(parse(label_config))

    @property
    def model_version(self) -> str | None:
        """The version that predictions carry; None while nothing is deployed."""
        served = self._here.champion(self._project.id).current()
        return served.served_as if served else None

    def predict(self, tasks: Sequence[Task], context: dict[str, Any] | None = None, **_: Any) -> list[list[Prediction]]:
        """One list for each task, in order: one prediction, or none for a task that could not be looked at."""
        return [[answer.prediction] if answer.prediction else [] for answer in self.answer(tasks)]

    def answer(self, tasks: Sequence[Task], seconds: float = inf) -> list[Answer]:
        """One answer for each task, in order. After `seconds` only what is stored already is answered; the rest is `too_late`.

        Images are fetched and decoded ahead of the detector, a bounded number at once.
        """
        served = self._here.champion(self._project.id).current()
        if served is None or not self._tags:
            return [Answer(None, NO_MODEL if served is None else SKIPPED) for _ in tasks]
        until = time.monotonic() + seconds
        # Half of the fetching threads, so that a large batch from a slow server leaves the other half to others.
        looks = ahead(partial(self._begin, served, until), tasks, max(1, self._here.settings.image_fetches // 2))
        answers = [self._answer(task, look, served, until) for task, look in zip(tasks, looks, strict=True)]
        self._count(answers)
        return answers

    def _count(self, answers: Sequence[Answer]) -> None:
        unanswered = Counter(answer.code for answer in answers if answer.code)
        if unanswered:
            self._here.count_unanswered(unanswered)
            log.warning("tasks not predicted", tasks=len(answers), unanswered=dict(unanswered))

    def _begin(self, served: Served, until: float, task: Task) -> Future[Look]:
        """Look at a task's image. What is stored is there at once, what is near is only decoded: neither waits behind a slow server."""
        here, data = self._here, task.get("data")
        value = data.get(self._tags[0].value_key) if isinstance(data, dict) else None
        done: Future[Look] = Future()
        try:
            found = here.resolver.peek(value, self._project.id)
            stored = self._stored(found, served) if found else None
        except Exception as error:  # noqa: BLE001  whoever reads the future is told
            done.set_exception(error)
            return done
        if stored is not None:
            done.set_result(stored)
            return done
        if time.monotonic() >= until:
            done.set_exception(_too_late())
            return done
        return here.decoders.submit(here.resolver.load, found) if found else here.fetchers.submit(self._fetch, served, value)

    def _fetch(self, served: Served, value: object) -> Look:
        found = self._here.resolver.find(value, self._project.id)
        return self._stored(found, served) or self._here.resolver.load(found)

    def _stored(self, found: Found, served: Served) -> Stored | None:
        with self._here.database.read() as session:
            row = stored_predictions(session, [found.image.id], served.model_version_id).get(found.image.id)
        return Stored(found.image, detections_of(row)) if row else None

    def _answer(self, task: Task, look: Future[Look], served: Served, until: float) -> Answer:
        try:
            return Answer(self._prediction(_wait(look, until), served))
        except TooLate as error:
            return Answer(None, error.code)
        except LabelwheelError as error:
            log.warning("task not predicted", task=id_of(task), error=str(error), code=error.code)
            return Answer(None, error.code)
        except Exception:
            log.exception("task not predicted", task=id_of(task))
            return Answer(None, LabelwheelError.code)

    def _prediction(self, look: Look, served: Served) -> Prediction:
        threshold = self._here.settings.display_threshold
        image, detections = look.image, self._detections(look, served)
        return {
            "result": to_regions(detections, self._tags, image.width, image.height, threshold),
            "score": prediction_score(detections, self._tags, threshold),
            "model_version": served.served_as,
        }

    def _detections(self, look: Look, served: Served) -> list[Detection]:
        if isinstance(look, Stored):
            return look.detections
        return predict(self._here.database, served, look.image.id, look.pixels, self._here.settings.display_threshold)


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
    if not isinstance(seen, Stored) and time.monotonic() >= until:
        raise _too_late()
    return seen


def _too_late() -> TooLate:
    return TooLate("The batch had no time left for it.", "It is predicted in the background.")
