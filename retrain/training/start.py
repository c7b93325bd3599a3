"""Where a training starts: from the champion's weights, from those of another version, or from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from labelwheel.database.tables import ModelVersion
from labelwheel.errors import ConflictError, InputError
from labelwheel.serving import newest_deployment
from retrain.model.catalogue import find
from retrain.policy import TRAINED_TASK
from retrain.training.asked import CHAMPION, SCRATCH, Asked, Spell

FILE_CURE = "A file is imported first, because loading it runs what it carries: `labelwheel model import FILE`; then name its version."


@dataclass(frozen=True, slots=True)
class Start:
    """`version` is None from scratch. `replays`: it saw our older labels, so that new ones and some of those make its training set."""

    version: ModelVersion | None
    replays: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {"model_version": self.version.id, "title": self.version.title} if self.version else {}


def start_of(session: Session, project_id: int, wanted: str, model_name: str) -> Start:
    """The start that `wanted` names ("" is the champion, and scratch where there is none to go on from).

    Any other version than the champion saw who knows which labels: it trains on all. Raises InputError, NotFoundError or ConflictError.
    """
    deployed = newest_deployment(session, project_id)
    champion = deployed.model_version if deployed else None
    if wanted == SCRATCH or (not wanted and (champion is None or not champion.weights_uri)):
        return Start(None)
    if wanted in ("", CHAMPION):
        return Start(_trainable(champion), replays=True)
    version = _trainable(_named(session, project_id, wanted, model_name))
    return Start(version, replays=champion is not None and version.id == champion.id)


def start_asked(session: Session, project_id: int, asked: Asked, model_name: str, spell: Spell = str) -> Start:
    """The start of a run that is asked for. Raises what `start_of` does, and InputError for weights that shall have another architecture."""
    found = start_of(session, project_id, asked.start, model_name)
    if found.version is not None and asked.architecture:
        cure = f"Another architecture begins from scratch: {spell('start')} {SCRATCH}."
        raise InputError(f"The weights of {found.version.title} bring their architecture with them.", cure)
    return found


def _named(session: Session, project_id: int, wanted: str, model_name: str) -> ModelVersion:
    if not wanted.rpartition("@")[2].isdecimal():
        raise InputError(f"A training starts from champion, scratch or a version such as {model_name}@3, not from {wanted!r}.", FILE_CURE)
    return find(session, project_id, wanted, model_name)


def _trainable(version: ModelVersion | None) -> ModelVersion:
    if version is None:
        raise ConflictError("There is no champion to start from.", "Start from scratch, or import a model: `labelwheel model import FILE`.")
    if version.task != TRAINED_TASK:
        raise ConflictError(
            f"The task of {version.title} is {version.task}.", "The wheel trains on rectangles alone: name a detection model."
        )
    if not version.weights_uri:
        cure = "Import its weights (.pt) too, or start from scratch."
        raise ConflictError(f"{version.title} came as an ONNX file: it serves, but cannot be trained on.", cure)
    return version
