"""Is the challenger better than the champion? A paired bootstrap over the images of one holdout. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from labelwheel.settings import Settings
from retrain.gate.precision import Floats, Matches, map50

RESAMPLES = 1000
CHUNK_CELLS = 2_000_000  # resamples × detections worked at a time, so that memory stays in tens of megabytes


@dataclass(frozen=True, slots=True)
class GateRules:
    """`confidence` (one-sided) of being better that is asked for, and the holdout images below which no champion falls."""

    confidence: float
    min_images: int

    @classmethod
    def of(cls, settings: Settings) -> GateRules:
        return cls(settings.gate_confidence, settings.gate_min_images)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to promote, why in words, and the numbers behind it."""

    promote: bool
    reasons: tuple[str, ...]
    numbers: dict[str, float]


def decide(champion: Matches | None, challenger: Matches, rules: GateRules, seed: int) -> Verdict:
    """Promote a challenger that is better with the confidence asked for; a first model as soon as it detects anything."""
    if champion is None:
        return _first(challenger)
    numbers = compare(champion, challenger, rules.confidence, seed) if challenger.images else {"images": 0.0}
    if challenger.images < rules.min_images:
        reason = f"The holdout has {challenger.images} labelled images; {rules.min_images} are needed to replace a model."
        return Verdict(False, (reason,), numbers)
    better = numbers["lower"] > 0
    told = f"mAP50 {numbers['champion']:.3f} → {numbers['challenger']:.3f} on {challenger.images} holdout images"
    bound = f"with {rules.confidence:.0%} confidence the gain is at least {numbers['lower']:+.3f}"
    return Verdict(better, (f"{told}: {bound}.", "Better: promoted." if better else "Not surely better: the champion stays."), numbers)


def compare(champion: Matches, challenger: Matches, confidence: float, seed: int, resamples: int = RESAMPLES) -> dict[str, float]:
    """mAP50 of both, the gain, and its lower and upper bound (each one-sided at `confidence`) over resampled images."""
    before, after = (float(map50(matches, np.ones((1, matches.images)))[0]) for matches in (champion, challenger))
    gains = np.concatenate(
        [map50(challenger, weights) - map50(champion, weights) for weights in _weights(champion, challenger, seed, resamples)]
    )
    lower, upper = np.quantile(gains, [1 - confidence, confidence])
    return {
        "images": float(challenger.images),
        "champion": before,
        "challenger": after,
        "gain": after - before,
        "lower": float(lower),
        "upper": float(upper),
        "standard_error": float(gains.std()),
        "confidence": confidence,
    }


def _first(challenger: Matches) -> Verdict:
    value = float(map50(challenger, np.ones((1, challenger.images)))[0])
    numbers = {"images": float(challenger.images), "challenger": value}
    if value > 0:
        return Verdict(True, (f"The first model: mAP50 {value:.3f} on {challenger.images} images.",), numbers)
    return Verdict(False, ("It detects nothing rightly yet: more labels or more updates are needed.",), numbers)


def _weights(champion: Matches, challenger: Matches, seed: int, resamples: int) -> Iterator[Floats]:
    """How often each image is drawn, in portions of (R, N): the same draw for both models."""
    images = challenger.images
    if champion.images != images:
        raise ValueError("champion and challenger were scored on different images")
    rng = np.random.default_rng(seed)
    portion = max(1, CHUNK_CELLS // max(len(champion.hit), len(challenger.hit), images, 1))
    for start in range(0, resamples, portion):
        yield rng.multinomial(images, np.full(images, 1 / images), size=min(portion, resamples - start)).astype(np.float64)
