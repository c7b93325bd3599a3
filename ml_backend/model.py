"""Our model behind the class interface of label-studio-ml 2.x: `predict(tasks, context) -> one list of predictions per task`.

The protocol module calls it, and the official server can host it (`LabelStudioMLBase` hands over the same arguments). A task
that fails or cannot be looked at is answered `[]`: nothing is stored and it is asked for again. An empty `result` would mean
"the model looked and saw nothing" and be kept for ever.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import Any

import structlog

from labelwheel.database.tables import Project
from labelwheel.project import current_classes
from labelwheel.vision.class_view import shown_under
from labelwheel.vision.label_config import parse, shown_tags
from ml_backend.batch import Answer, Batch, Prediction, Task
from ml_backend.state import State

log = structlog.get_logger(__name__)

NO_MODEL, SKIPPED = "no_model", "model_skip"


class DetectorModel:
    """Pre-annotations of one request: stateless beyond what the process shares."""

    def __init__(self, here: State, project: Project, label_config: str) -> None:
        self._here = here
        self._project = project
        with here.database.read() as session:
            classes = current_classes(session, project.id)
        self._tags = shown_tags(shown_under(parse(label_config), classes))

    @property
    def model_version(self) -> str | None:
        """The version that predictions carry; None while nothing is deployed."""
        line_up = self._here.line_up(self._project.id)
        return line_up.served_as if line_up else None

    def predict(self, tasks: Sequence[Task], context: dict[str, Any] | None = None, **_: Any) -> list[list[Prediction]]:
        """One list for each task, in order: one prediction, or none for a task that could not be looked at."""
        return [[answer.prediction] if answer.prediction else [] for answer in self.answer(tasks)]

    def answer(self, tasks: Sequence[Task], seconds: float = inf) -> list[Answer]:
        """One answer for each task, in order. After `seconds` only what is stored already is answered; the rest is `too_late`."""
        line_up = self._here.line_up(self._project.id)
        batch = Batch(self._here, self._project.id, line_up, self._tags, time.monotonic() + seconds) if line_up else None
        if batch is None or not batch.wanted:
            return [Answer(None, NO_MODEL if self._tags or not batch else SKIPPED) for _ in tasks]
        answers = batch.answer(tasks)
        self._count(answers)
        return answers

    def _count(self, answers: Sequence[Answer]) -> None:
        unanswered = Counter(answer.code for answer in answers if answer.code)
        if unanswered:
            self._here.count_unanswered(unanswered)
            log.warning("tasks not predicted", tasks=len(answers), unanswered=dict(unanswered))
