"""Let a version be the champion, if the gate agrees: it is judged on the present holdout, whoever trained or brought it, and whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labelwheel.database import Database
from labelwheel.database.tables import Deployment, ModelVersion
from labelwheel.errors import InputError
from labelwheel.project import current_class_map
from labelwheel.serving import newest_deployment
from labelwheel.settings import Settings
from labelwheel.vision.detector import Detector
from retrain.dataset import content
from retrain.dataset.content import Plan
from retrain.gate.anchor import Standing, standing
from retrain.gate.judge import Challenger, Judged, judge
from retrain.model.deploy import deploy_by_hand, deploy_decided
from retrain.model.onnx import onnx_of

Beat = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants a version to serve, and why; `override` lets it serve whatever the gate says. `path` is the door that it came through."""

    who: str
    note: str
    override: bool = False
    path: str = "promote"


@dataclass(frozen=True, eq=False)
class Promotion:
    """What came of it. `judged` is None where there was nothing to compare with: nothing served yet, or this version does already."""

    version: ModelVersion
    judged: Judged | None
    deployment: Deployment | None
    fresh: bool
    overridden: bool = False

    @property
    def told(self) -> tuple[str, ...]:
        """The verdict in words; () where nothing was compared."""
        return self.judged.told("override" if self.overridden else "") if self.judged else ()


def promote(
    database: Database, settings: Settings, version: ModelVersion, wish: Wish, begin: Callable[[int], Beat] = lambda _looks: _nothing
) -> Promotion:  # fmt: skip
    """Judge the version, record the verdict, and deploy it if the verdict or an override says so.

    `begin` is told how many images will be looked at, and answers what is called before each. Raises InputError for an override without a note
    and for a model that is not of the champion's name, ModelError for a file that could not serve, ConflictError when something else was
    deployed meanwhile.
    """
    if wish.override and not wish.note.strip():
        raise InputError("An override needs a note.", 'Say why: `--override --note "…"`. Whoever comes next wants to know.')
    if version.name != settings.model_name:
        cure = f"Let it serve beside the champion: `labelwheel model deploy {version.title}`."
        raise InputError(f"{version.title} is a model for tags that name it, not one of {settings.model_name}.", cure)
    Detector(onnx_of(version, settings), threads=settings.detector_threads)
    with database.read() as session:
        present, serving = standing(session, version.project_id), newest_deployment(session, version.project_id)
        chosen = content.everything(session, version.project_id, current_class_map(session, version.project_id))
    if present.champion is None or present.champion.id == version.id:
        row, fresh = deploy_by_hand(database, settings, version.id, wish.note or "The first model.")
        return Promotion(version, None, row, fresh)
    judged = _judged(settings, version, present, chosen, begin)
    verdict = "promote" if judged.verdict.promote else "override" if wish.override else "keep"
    decision = judged.decision(version.project_id, verdict, holdout=chosen.holdout, scored=_scored(version, judged), **_told(wish, verdict))
    if verdict == "keep":
        with database.write() as session:
            session.add(decision)
        return Promotion(version, judged, serving, False)
    row = deploy_decided(database, settings, version.id, decision, present.champion.id)
    return Promotion(version, judged, row, True, verdict == "override")


def _judged(settings: Settings, version: ModelVersion, present: Standing, chosen: Plan, begin: Callable[[int], Beat]) -> Judged:
    items = chosen.only("holdout")
    models = {model.id for model in (version, present.champion, present.anchor) if model}
    challenger = Challenger(version.title, onnx_of(version, settings), version.classes, version.task)
    # The seed is the version's: whoever asks again about the same holdout is answered the same.
    return judge(settings, challenger, present, chosen, items, version.id, beat=begin(len(items) * len(models)))


def _scored(version: ModelVersion, judged: Judged) -> dict[str, Any]:
    """Model version id → its scores on this holdout, for whoever lists models."""
    champion = judged.standing.champion
    scores = {version.id: judged.challenger, **({champion.id: judged.champion} if champion and judged.champion else {})}
    return {str(number): {"map50": round(found.map50, 4), "images": found.images} for number, found in scores.items()}


def _told(wish: Wish, verdict: str) -> dict[str, object]:
    said = f" {wish.note.strip()}" if wish.note.strip() else ""
    reasons = [f"{wish.who} let it serve all the same.{said}"] if verdict == "override" else [said.strip()] if said else []
    return {"reasons": reasons, "who": wish.who, "note": wish.note.strip(), "path": wish.path}


def _nothing() -> None:
    """Nobody watches."""
