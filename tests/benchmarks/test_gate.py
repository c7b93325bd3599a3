"""A verdict on 1,000 images with three models: at most 5 seconds, on one thread."""

from __future__ import annotations

import time

import numpy as np

from retrain.gate.compare import Slice
from retrain.gate.decide import GateRules, Rival, decide
from tests.fixtures import figures
from tests.fixtures import gate_world as world
from tests.fixtures.gate_world import CLASSES, Model

IMAGES, SECONDS = 1000, 5.0


def test_a_verdict_on_a_thousand_images(seed: int) -> None:
    scene = world.draw(np.random.default_rng(seed), IMAGES)
    one, other, best = (Model((skill,) * world.SOURCES, number) for number, skill in enumerate((1.7, 1.8, 1.75)))
    found = one.look(scene)
    rivals = [Rival(name, model.look(scene), CLASSES) for name, model in (("champion", other), ("anchor", best))]
    holdout = world.holdout(scene, found.truths)
    started, worked = time.perf_counter(), time.process_time()
    verdict = decide(found, rivals[0], holdout, GateRules(0.975, 20), seed, rivals[1], Slice("source", "line-1"))
    took = {"seconds": round(time.perf_counter() - started, 3), "cpu_seconds": round(time.process_time() - worked, 3)}
    size = {"images": IMAGES, "boxes": int(found.truths.sum()), "detections": len(found.hit), "models": 3, "slices": len(verdict.slices)}
    figures.write("bench/gate.json", {"seed": seed, **size, **took})
    assert took["cpu_seconds"] <= SECONDS
