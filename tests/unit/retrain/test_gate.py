"""The gate by simulation: what it promotes of equal models, and of better ones."""

from __future__ import annotations

import secrets
import time

import numpy as np
import pytest

from retrain.gate.decide import GateRules, compare, decide
from retrain.gate.precision import Matches
from tests.fixtures import figures

RULES = GateRules(confidence=0.9, min_images=20)
BOXES = 4  # true boxes an image
CLASSES = 2


def model(rng: np.random.Generator, hardness: np.ndarray, skill: float) -> Matches:
    """Detections of a model that finds a box with probability `skill`, less in hard images, and invents one now and then.

    `hardness` (N,) is shared by the models that look at the same images, so their scores are paired.
    """
    images = len(hardness)
    image = np.repeat(np.arange(images), BOXES)
    found = rng.random(len(image)) < np.clip(skill - hardness[image], 0, 1)
    invented = rng.integers(0, images, images // 2)
    confidence = np.concatenate([rng.beta(5, 2, found.sum()), rng.beta(2, 4, len(invented))])
    order = np.argsort(-confidence)
    where = np.concatenate([image[found], invented])[order]
    label = np.concatenate([np.tile(np.arange(BOXES) % CLASSES, images)[found], rng.integers(0, CLASSES, len(invented))])[order]
    hit = np.concatenate([np.ones(found.sum(), bool), np.zeros(len(invented), bool)])[order]
    return Matches(np.full((CLASSES, images), BOXES // CLASSES), where, label, hit)


def promoted(champion_skill: float, challenger_skill: float, images: int, runs: int, seed: int = 7) -> float:
    rng = np.random.default_rng(seed)
    verdicts = []
    for run in range(runs):
        hardness = rng.exponential(0.15, images)
        verdicts.append(decide(model(rng, hardness, champion_skill), model(rng, hardness, challenger_skill), RULES, run).promote)
    return float(np.mean(verdicts))


def test_equal_models_are_promoted_as_rarely_as_stated() -> None:
    runs = 120
    noise = 3 * np.sqrt(0.1 * 0.9 / runs)
    assert promoted(0.8, 0.8, 60, runs) <= 0.1 + noise


def test_a_clearly_better_model_is_promoted_and_a_worse_one_never() -> None:
    assert promoted(0.7, 0.85, 80, 30) >= 0.95
    assert promoted(0.85, 0.7, 80, 30) == 0


def test_the_same_model_is_no_better() -> None:
    rng = np.random.default_rng(0)
    same = model(rng, np.zeros(50), 0.8)
    assert not decide(same, same, RULES, 1).promote


def test_a_small_holdout_replaces_no_model_and_says_so() -> None:
    rng = np.random.default_rng(0)
    hardness = np.zeros(19)
    verdict = decide(model(rng, hardness, 0.1), model(rng, hardness, 1.0), RULES, 1)
    assert not verdict.promote
    assert "19 labelled images; 20 are needed" in verdict.reasons[0]


def test_no_holdout_replaces_no_model() -> None:
    empty = Matches(np.zeros((2, 0), np.int64), np.array([], np.int64), np.array([], np.int64), np.array([], bool))
    assert not decide(empty, empty, RULES, 1).promote


def test_a_first_model_needs_to_detect_something() -> None:
    rng = np.random.default_rng(0)
    assert decide(None, model(rng, np.zeros(5), 0.9), RULES, 1).promote
    assert not decide(None, model(rng, np.full(5, 2.0), 0.9), RULES, 1).promote


def test_the_verdict_repeats_and_tells_its_numbers() -> None:
    rng = np.random.default_rng(3)
    hardness = rng.exponential(0.15, 60)
    pair = model(rng, hardness, 0.6), model(rng, hardness, 0.9)
    first, second = decide(*pair, RULES, 5), decide(*pair, RULES, 5)
    assert first == second
    numbers = first.numbers
    assert numbers["lower"] < numbers["gain"] < numbers["upper"]
    assert numbers["gain"] == pytest.approx(numbers["challenger"] - numbers["champion"])


def test_a_thousand_images_take_seconds() -> None:
    rng = np.random.default_rng(3)
    hardness = rng.exponential(0.15, 1000)
    pair = model(rng, hardness, 0.8), model(rng, hardness, 0.85)
    started = time.process_time()
    compare(*pair, 0.9, 1)
    assert time.process_time() - started < 5


@pytest.mark.prove
def test_promotion_rates_at_full_counts() -> None:
    seed = secrets.randbelow(2**31)
    cases = [(0.8, 0.8, 40, 1000), (0.8, 0.8, 150, 1000), (0.8, 0.85, 150, 300), (0.8, 0.9, 60, 300)]
    rates = [{"from": a, "to": b, "images": n, "runs": runs, "promoted": promoted(a, b, n, runs, seed)} for a, b, n, runs in cases]
    figures.write("prove/gate.json", {"seed": seed, "boxes_per_image": BOXES, "confidence": RULES.confidence, "rates": rates})
    assert all(row["promoted"] <= 0.1 + 3 * np.sqrt(0.09 / row["runs"]) + 0.02 for row in rates if row["from"] == row["to"])
