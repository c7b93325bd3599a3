"""Our model behind the class interface of label-studio-ml 2.x: `predict(tasks, context) -> one list of predictions per task`.

The protocol module calls it, and the official server can host it (`LabelStudioMLBase` hands over the same arguments). A task
that fails or cannot be looked at is answered `[]`: nothing is stored and it is asked for again. An empty `result` would mean
"the model looked and saw nothing" and be kept for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from labelwheel.database.tables import Image, Project
from labelwheel.errors import LabelwheelError
from labelwheel.resolver.resolve import Found, Loaded
from labelwheel.serving import Served, detections_of, predict, stored_predictions
from labelwheel.vision.detection import Detection
from labelwheel.vision.label_config import parse
from labelwheel.vision.regions import prediction_score, to_regions
from ml_backend.ahead import ahead
from ml_backend.state import State

log = structlog.get_logger(__name__)

Prediction = dict[str, Any]
Task = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """An image of which the served model's detections are stored already."""

    image: Image
    detections: list[Detection]


Look = Stored | Loaded


class DetectorModel:
    """Pre-annotations of one request: stateless beyond what the process shares."""

    def __init__(self, here: State, project: Project, label_config: str) -> None:
        self._here = here
        self._project = project
        self._tag = parse(label_config)[0]

    @property
    def model_version(self) -> str | None:
        """The version that predictions carry; None while nothing is deployed."""
        served = self._here.champion(self._project.id).current()
        return served.served_as if served else None

    def predict(self, tasks: Sequence[Task], context: dict[str, Any] | None = None, **_: Any) -> list[list[Prediction]]:
        """One list for each task, in order: one prediction, or none for a task that could not be looked at.

        Images are fetched and decoded ahead of the detector, a bounded number at once.
        """
        served = self._here.champion(self._project.id).current()
        if served is None:
            return [[] for _ in tasks]
        unanswered: Counter[str] = Counter()
        # Half of the fetching threads, so that a large batch from a slow server leaves the other half to others.
        looks = ahead(partial(self._begin, served), tasks, max(1, self._here.settings.image_fetches // 2))
        results = [self._answer(task, look, served, unanswered) for task, look in zip(tasks, looks, strict=True)]
        if unanswered:
            self._here.count_unanswered(unanswered)
            log.warning("tasks not predicted", tasks=len(tasks), unanswered=dict(unanswered))
        return results

    def _begin(self, served: Served, task: Task) -> Future[Look]:
        """Look at a task's image. What is stored is there at once, what is near is only decoded: neither waits behind a slow server."""
        here, data = self._here, task.get("data")
        value = data.get(self._tag.value_key) if isinstance(data, dict) else None
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
        return here.decoders.submit(here.resolver.load, found) if found else here.fetchers.submit(self._fetch, served, value)

    def _fetch(self, served: Served, value: object) -> Look:
        found = self._here.resolver.find(value, self._project.id)
        return self._stored(found, served) or self._here.resolver.load(found)

    def _stored(self, found: Found, served: Served) -> Stored | None:
        with self._here.database.read() as session:
            row = stored_predictions(session, [found.image.id], served.model_version_id).get(found.image.id)
        return Stored(found.image, detections_of(row)) if row else None

    def _answer(self, task: Task, look: Future[Look], served: Served, unanswered: Counter[str]) -> list[Prediction]:
        try:
            return [self._prediction(look.result(), served)]
        except LabelwheelError as error:
            unanswered[error.code] += 1
            log.warning("task not predicted", task=task.get("id"), error=str(error), code=error.code)
        except Exception:
            unanswered[LabelwheelError.code] += 1
            log.exception("task not predicted", task=task.get("id"))
        return []

    def _prediction(self, look: Look, served: Served) -> Prediction:
        threshold = self._here.settings.display_threshold
        image, detections = look.image, self._detections(look, served)
        return {
            "result": to_regions(detections, self._tag, image.width, image.height, threshold),
            "score": prediction_score(detections, threshold),
            "model_version": served.served_as,
        }

    def _detections(self, look: Look, served: Served) -> list[Detection]:
        if isinstance(look, Stored):
            return look.detections
        return predict(self._here.database, served, look.image.id, look.pixels, self._here.settings.display_threshold)
