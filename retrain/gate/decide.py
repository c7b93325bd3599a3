"""Shall the challenger serve? Decided on scores of the same holdout, and told in words and numbers. Pure.

It has to be surely better than the champion, on all images or on the slice that called for it; it may not, surely, be worse than the anchor by more
than the budget; and no class and no source may be surely worse than it was. See docs/gate.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from labelwheel.settings import Settings
from retrain.gate.compare import OVERALL, RESAMPLES, Gain, Holdout, Sampled, Slice, sample
from retrain.gate.precision import Matches, map50


@dataclass(frozen=True, slots=True)
class GateRules:
    """The settings of the same names. `confidence` is one-sided; `budget` is mAP50 that may be lost in all against the anchor.

    `resamples` is how often the images are drawn again: more make the bounds steadier.
    """

    confidence: float
    min_images: int
    budget: float = 0.01
    slice_boxes: int = 20
    resamples: int = RESAMPLES

    @classmethod
    def of(cls, settings: Settings) -> GateRules:
        return cls(settings.gate_confidence, settings.gate_min_images, settings.gate_budget, settings.gate_slice_boxes)


@dataclass(frozen=True, eq=False)
class Rival:
    """A model that the challenger is compared with, on the classes that `both` know; `aside` are those that only one of them knows."""

    title: str
    matches: Matches
    both: tuple[str, ...]
    aside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to promote, why in words, and the numbers behind it.

    `establishes`: it is surely better than the anchor, and the anchor from now on if it serves. `slices` are the parts that have a floor.
    """

    promote: bool
    reasons: tuple[str, ...]
    numbers: dict[str, float]
    establishes: bool = False
    slices: tuple[dict[str, Any], ...] = field(default=())


def decide(
    challenger: Matches, champion: Rival | None, holdout: Holdout, rules: GateRules, seed: int,
    anchor: Rival | None = None, asked: Slice | None = None,
) -> Verdict:  # fmt: skip
    """Promote or keep. `anchor` None: the champion is the anchor. `asked` is the slice that called for the training."""
    if champion is None:
        return _first(challenger)
    if challenger.images < rules.min_images:
        reason = f"The holdout has {challenger.images} labelled images; {rules.min_images} are needed to replace a model."
        return Verdict(False, (reason,), {"images": float(challenger.images)})
    if not champion.both:
        return Verdict(False, (f"It has no class in common with {champion.title}.",), {"images": float(challenger.images)})
    return _compared(_Bout(challenger, champion, holdout, anchor, asked, rules, seed))


@dataclass(frozen=True, slots=True)
class _Seen:
    """All that the verdict is drawn from. `level` is the confidence of each question whether it is better."""

    overall: Gain
    asked: Gain | None
    anchored: Gain
    fallen: Gain | None
    floors: Mapping[Slice, Gain]
    level: float


class _Bout:
    """One comparison: every model is scored once on every draw."""

    def __init__(
        self, challenger: Matches, champion: Rival, holdout: Holdout, anchor: Rival | None, asked: Slice | None, rules: GateRules, seed: int
    ) -> None:
        draws = holdout.draws(seed, rules.resamples)
        self.champion, self.anchor, self.asked, self.holdout, self.rules = champion, anchor, asked, holdout, rules
        self._challenger = sample(challenger, holdout, draws)
        self._champion = sample(champion.matches, holdout, draws)
        self._anchor = sample(anchor.matches, holdout, draws) if anchor and anchor.both else None

    def seen(self) -> _Seen:
        overall, asked = self._gain(OVERALL), self._gain(self.asked) if self.asked and self._has(self.asked) else None
        floors = {part: self._gain(part) for part in self.holdout.slices() if self._has(part)}
        # Two chances to look better: each takes half of the risk.
        level = self.rules.confidence if not asked or not asked.enough(self.rules.slice_boxes) else (1 + self.rules.confidence) / 2
        if self.anchor is None or self._anchor is None:
            return _Seen(overall, asked, overall, None, floors, level)
        shared = [label for label in self.champion.both if label in self.anchor.both]
        anchored = self._challenger.over(self._anchor, OVERALL, self.anchor.both)
        return _Seen(overall, asked, anchored, self._champion.over(self._anchor, OVERALL, shared), floors, level)

    def _gain(self, part: Slice, rival: Sampled | None = None) -> Gain:
        return self._challenger.over(rival or self._champion, part, self.champion.both)

    def _has(self, part: Slice) -> bool:
        return part.name in (self.champion.both if part.kind == "class" else self.holdout.places)


def _compared(bout: _Bout) -> Verdict:
    seen, rules = bout.seen(), bout.rules
    judged = {part: gain for part, gain in seen.floors.items() if gain.enough(rules.slice_boxes)}
    vetoes = surely_worse(judged, 1 - rules.confidence)
    better = seen.overall.lower(seen.level) > 0
    better_there = bool(seen.asked and seen.asked.enough(rules.slice_boxes) and seen.asked.lower(seen.level) > 0)
    holds = seen.anchored.lower(rules.confidence) > -rules.budget
    sunk = bool(seen.fallen and seen.fallen.upper(rules.confidence) < -rules.budget)
    promote = ((better and (holds or sunk)) or (better_there and holds)) and not vetoes
    reasons = (
        *_told(bout, seen),
        *(_veto(part, judged[part]) for part in vetoes),
        *_untold(bout, seen.floors),
        _end(promote, better, better_there, holds or (better and sunk), bool(vetoes), bout.asked),
    )
    slices = tuple({"slice": str(part), **gain.as_dict(), "vetoes": part in vetoes} for part, gain in seen.floors.items())
    return Verdict(
        promote, reasons, _numbers(seen, rules, len(bout.holdout.sources)), promote and seen.anchored.lower(seen.level) > 0, slices
    )


def surely_worse(gains: Mapping[Slice, Gain], risk: float) -> tuple[Slice, ...]:
    """The slices that are worse, so surely that all of them together are named wrongly at most `risk` of the time (Holm)."""
    ordered = sorted(gains, key=lambda part: gains[part].chance)
    found: list[Slice] = []
    for number, part in enumerate(ordered):
        if gains[part].chance > risk / (len(ordered) - number):
            break
        found.append(part)
    return tuple(found)


def _told(bout: _Bout, seen: _Seen) -> list[str]:
    """The numbers, in words."""
    level, confidence, gain = seen.level, bout.rules.confidence, seen.overall
    reasons = [f"{_change(gain)} on {len(bout.holdout.sources)} holdout images: {_bounds(gain, level)}."]
    if bout.asked and seen.asked is None:
        reasons.append(f"It was trained for {bout.asked}, of which the holdout has nothing that both models know.")
    elif bout.asked and seen.asked:
        reasons.append(
            f"On {bout.asked}, which it was trained for: {_change(seen.asked)} on {seen.asked.images} images: {_bounds(seen.asked, level)}."
        )
    if bout.anchor and seen.fallen:
        worst = seen.anchored.lower(confidence)
        reasons.append(
            f"Against {bout.anchor.title}, the best that ever served: {seen.anchored.gain:+.3f}, at worst {worst:+.3f}; "
            f"{bout.rules.budget:.3f} may be lost in all."
        )
    return reasons


def _change(gain: Gain) -> str:
    return f"mAP50 {gain.before:.3f} → {gain.after:.3f}"


def _bounds(gain: Gain, level: float) -> str:
    return f"a gain of {gain.gain:+.3f}, with {100 * level:.4g} % confidence at least {gain.lower(level):+.3f}"


def _veto(part: Slice, gain: Gain) -> str:
    return f"Surely worse on {part}: {_change(gain)} on {gain.images} images with {gain.boxes} boxes."


def _untold(bout: _Bout, floors: Mapping[Slice, Gain]) -> list[str]:
    """What could not be looked at."""
    few = [f"{part} ({gain.boxes} on {gain.images})" for part, gain in floors.items() if not gain.enough(bout.rules.slice_boxes)]
    told = [f"Too few boxes to have a floor (boxes on images): {', '.join(few)}."] if few else []
    if bout.champion.aside:
        told.append(f"Not compared, because only one of the two models knows it: {', '.join(bout.champion.aside)}.")
    return told


def _end(promote: bool, better: bool, better_there: bool, holds: bool, vetoed: bool, asked: Slice | None) -> str:
    if promote:
        return "Better: promoted." if better else f"Better on {asked}, and nothing of account lost elsewhere: promoted."
    if not (better or better_there):
        return "Not surely better: the champion stays."
    where = "Better" if better else f"Better on {asked}"
    return f"{where}, but {'not everywhere' if vetoed else 'it might lose more than the budget' if not holds else 'not enough'}: the champion stays."


def _numbers(seen: _Seen, rules: GateRules, images: int) -> dict[str, float]:
    gain = seen.overall
    found = {
        "images": float(images),
        "boxes": float(gain.boxes),
        "champion": gain.before,
        "challenger": gain.after,
        "gain": gain.gain,
        "lower": gain.lower(seen.level),
        "upper": gain.upper(seen.level),
        "standard_error": gain.standard_error,
        "confidence": seen.level,
        "budget": rules.budget,
        "anchor": seen.anchored.before,
        "anchor_gain": seen.anchored.gain,
        "anchor_lower": seen.anchored.lower(rules.confidence),
    }
    if seen.asked:
        found |= {"slice_gain": seen.asked.gain, "slice_lower": seen.asked.lower(seen.level), "slice_error": seen.asked.standard_error}
    return found


def _first(challenger: Matches) -> Verdict:
    value = float(map50(challenger, np.ones((1, challenger.images)))[0])
    numbers = {"images": float(challenger.images), "challenger": value}
    if value > 0:
        return Verdict(True, (f"The first model: mAP50 {value:.3f} on {challenger.images} images.",), numbers, True)
    return Verdict(False, ("It detects nothing rightly yet: more labels or more updates are needed.",), numbers)
