"""Judge a challenger against what stands. Every way to the champion's place leads through here: runs, imports, deployments by hand, `promote`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labelwheel.database.tables import Decision, ModelVersion
from labelwheel.errors import ModelError
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision.class_map import Common, common
from labelwheel.vision.detector import Detector
from retrain.dataset.content import Item, Plan
from retrain.gate.anchor import GATE, Standing
from retrain.gate.compare import Holdout, Slice
from retrain.gate.decide import GateRules, Rival, Verdict, decide
from retrain.gate.evaluate import Scores, evaluate, reader
from retrain.model.onnx import onnx_of

COMPARED_TASKS = ("detect", "obb", "segment", "pose")  # their answers have boxes


@dataclass(frozen=True, slots=True)
class Challenger:
    """A model that asks for the champion's place: its file, the labels that it was trained with, and its task."""

    title: str
    onnx: Path
    labels: Sequence[str]
    task: str = "detect"


@dataclass(frozen=True, eq=False)
class Judged:
    """A verdict, the scores that it rests on, and what stood."""

    verdict: Verdict
    challenger: Scores
    champion: Scores | None
    standing: Standing
    seen: Mapping[str, Any]

    def told(self, verdict: str) -> tuple[str, ...]:
        """The reasons in words. Where a person overrode the gate, its end is said as what it is: what the gate says, not what happens."""
        *before, end = self.verdict.reasons
        return self.verdict.reasons if verdict != "override" else (*before, f'The gate says: "{end.removesuffix(".")}"; overridden.')

    def decision(self, project_id: int, verdict: str, **more: Any) -> Decision:
        """As a row: `verdict` is promote, keep or override."""
        reasons = [*self.told(verdict), *more.pop("reasons", [])]
        inputs = {
            **self.verdict.numbers,
            **self.seen,
            "slices": list(self.verdict.slices),
            "establishes": verdict == "promote" and self.verdict.establishes,
            **more,
        }
        return Decision(project_id=project_id, kind=GATE, verdict=verdict, reasons=reasons, inputs=inputs)


def judge(
    settings: Settings, challenger: Challenger, standing: Standing, chosen: Plan, items: Sequence[Item], seed: int,
    asked: Mapping[str, str] | None = None, beat: Callable[[], object] = lambda: None,
) -> Judged:  # fmt: skip
    """Score challenger, champion and anchor as they are served, each once on `items`, and decide. `asked` is the run's slice.

    Where the champion's file is lost, nothing is promoted; where the anchor's is, the champion stands for it. Raises ModelError for the challenger's.
    """
    rules, champion = GateRules.of(settings), standing.champion
    seen = _seen(challenger, standing, asked, seed, rules)

    def score(onnx: Path) -> Scores:
        return score_file(settings, onnx, chosen, items, beat)

    mine = score(challenger.onnx)
    stranger = _stranger(challenger, champion)
    if stranger:
        return Judged(Verdict(False, (stranger,), {}), mine, None, standing, seen)

    def rival(version: ModelVersion, scores: Scores) -> Rival:
        shared: Common = common(chosen.class_map, version.classes, challenger.labels)
        return Rival(version.title, scores.matches, shared.both, (*shared.only_first, *shared.only_second))

    try:
        theirs = score(onnx_of(champion, settings)) if champion else None
    except ModelError as error:
        return Judged(Verdict(False, (_unscored(error),), {}), mine, None, standing, seen)
    best, held, note = _anchor(standing), None, ""
    try:
        held = rival(best, score(onnx_of(best, settings))) if best else None
    except ModelError as error:
        note = f"{error.message} It is the best that ever served: the champion stands for it."
    holdout = Holdout(tuple(mine.per_class), tuple(item.source for item in items), mine.matches.truths)
    facing = rival(champion, theirs) if champion and theirs else None
    verdict = decide(mine.matches, facing, holdout, rules, seed, held, _asked(asked, chosen))
    return Judged(_with(verdict, note), mine, theirs, standing, seen)


def score_file(
    settings: Settings, onnx: Path, chosen: Plan, items: Sequence[Item], beat: Callable[[], object] = lambda: None
) -> Scores:  # fmt: skip
    """A model, as it is served, on some items of a plan; `beat` is called before each image."""
    detector = Detector(onnx, threads=settings.detector_threads)
    return evaluate(detector, items, reader(ImageStore(settings.images_dir), settings, beat), chosen.class_map)


def _anchor(standing: Standing) -> ModelVersion | None:
    """The anchor, if it is another model than the champion and their answers are compared."""
    champion, anchor = standing.champion, standing.anchor
    if anchor is None or champion is None or anchor.id == champion.id or anchor.task not in COMPARED_TASKS:
        return None
    return anchor


def _unscored(error: ModelError) -> str:
    """Why nothing can be said of a challenger whose champion cannot be looked at."""
    return f"The champion cannot be scored, so nothing is known to be better. {error.message}"


def _asked(asked: Mapping[str, str] | None, chosen: Plan) -> Slice | None:
    """The slice; a class under the name that it has today."""
    found = Slice.of(asked)
    return Slice("class", chosen.class_map.read(found.name) or found.name) if found and found.kind == "class" else found


def _stranger(challenger: Challenger, champion: ModelVersion | None) -> str:
    """Why the two cannot be compared; empty when they can."""
    if champion is None or (challenger.task == champion.task and challenger.task in COMPARED_TASKS):
        return ""
    return f"{challenger.title} is a model for {challenger.task}, {champion.title} one for {champion.task}: their answers are not compared."


def _seen(
    challenger: Challenger, standing: Standing, asked: Mapping[str, str] | None, seed: int, rules: GateRules
) -> dict[str, Any]:  # fmt: skip
    champion, anchor = standing.champion, standing.anchor
    return {
        "challenger_version": challenger.title,
        "champion_version": champion.title if champion else None,
        "anchor_version": anchor.title if anchor else None,
        "champion_id": champion.id if champion else None,
        "anchor_id": anchor.id if anchor else None,
        "slice": dict(asked) if asked else None,
        "rules": asdict(rules),
        "seed": seed,
    }


def _with(verdict: Verdict, note: str) -> Verdict:
    if not note:
        return verdict
    return Verdict(verdict.promote, (note, *verdict.reasons), verdict.numbers, verdict.establishes, verdict.slices)
