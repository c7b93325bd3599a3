"""Our model behind the class interface of label-studio-ml 2.x: `predict(tasks, context) -> one list of predictions per task`.

The protocol module calls it, and the official server can host it (`LabelStudioMLBase` hands over the same arguments). A task
that fails or cannot be looked at is answered `[]`: nothing is stored and it is asked for again. An empty `result` would mean
"the model looked and saw nothing" and be kept for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import Image, Project
from labelwheel.errors import LabelwheelError
from labelwheel.image_url import uri_of_url
from labelwheel.serving import Served, predict_stored
from labelwheel.vision.label_config import ControlTag, parse
from labelwheel.vision.regions import prediction_score, to_regions
from ml_backend.state import State

log = structlog.get_logger(__name__)

Prediction = dict[str, Any]


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

    def predict(self, tasks: Sequence[dict[str, Any]], context: dict[str, Any] | None = None, **_: Any) -> list[list[Prediction]]:
        """One list for each task, in order: one prediction, or none for a task that could not be looked at."""
        served = self._here.champion(self._project.id).current()
        if served is None:
            return [[] for _ in tasks]
        return [self._predict_one(task, served) for task in tasks]

    def _predict_one(self, task: dict[str, Any], served: Served) -> list[Prediction]:
        try:
            return [self._prediction(task, served)]
        except LabelwheelError as error:
            log.warning("task not predicted", task=task.get("id"), error=error.message, code=error.code)
        except Exception:
            log.exception("task not predicted", task=task.get("id"))
        return []

    def _prediction(self, task: dict[str, Any], served: Served) -> Prediction:
        image = self._image(task, self._tag)
        settings = self._here.settings
        detections = predict_stored(self._here.database, served, image, self._here.store, settings)
        threshold = settings.display_threshold
        return {
            "result": to_regions(detections, self._tag, image.width, image.height, threshold),
            "score": prediction_score(detections, threshold),
            "model_version": served.served_as,
        }

    def _image(self, task: dict[str, Any], tag: ControlTag) -> Image:
        url = str(task.get("data", {}).get(tag.value_key, ""))
        uri = uri_of_url(url, self._here.settings)
        with self._here.database.read() as session:
            image = _stored(session, self._project.id, uri) if uri else None
        if image is None:
            raise LabelwheelError("The task's image is not one of ours.", "Send images through `POST /inspect` or `labelwheel ingest`.")
        return image


def _stored(session: Session, project_id: int, uri: str) -> Image | None:
    return session.scalar(select(Image).where(Image.project_id == project_id, Image.uri == uri))
