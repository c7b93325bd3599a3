"""Average precision against faster-coco-eval's, and against weights that repeat images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import Box
from retrain.gate.evaluate import _coco_detections
from retrain.gate.precision import average_precision, map50, match

LABELS = ("a", "b", "c")
SIDE = 100.0


def scene(seed: int, images: int) -> tuple[list[list[LabelledBox]], list[list[Detection]]]:
    """True boxes, and detections of them: moved, missed, doubled or invented."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(images):
        boxes = [LabelledBox(LABELS[rng.integers(2)], _box(rng)) for _ in range(rng.integers(0, 6))]
        hits = [Detection(box.label, _moved(box.box, rng), float(rng.random())) for box in boxes for _ in range(rng.integers(0, 3))]
        false = [Detection(LABELS[rng.integers(3)], _box(rng), float(rng.random())) for _ in range(rng.integers(0, 4))]
        truths.append(boxes)
        found.append(hits + false)
    return truths, found


def _box(rng: np.random.Generator) -> Box:
    x, y, w, h = rng.random(4) * [60, 60, 35, 35] + [0, 0, 5, 5]
    return Box(x, y, x + w, y + h)


def _moved(box: Box, rng: np.random.Generator) -> Box:
    dx, dy = rng.normal(0, 0.15, 2) * [box.width, box.height]
    return Box(box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2 + dy)


def coco_map50(truths: list[list[LabelledBox]], found: list[list[Detection]]) -> float:
    from faster_coco_eval import COCO, COCOeval_faster

    boxes = [(number, box) for number, image in enumerate(truths) for box in image]
    annotations = [
        {"id": n, "image_id": number, "category_id": LABELS.index(box.label), "iscrowd": 0, "area": box.box.area}
        | {"bbox": [box.box.x1, box.box.y1, box.box.width, box.box.height]}
        for n, (number, box) in enumerate(boxes, start=1)
    ]
    images = [{"id": number, "width": SIDE, "height": SIDE} for number in range(len(truths))]
    truth = COCO({"images": images, "annotations": annotations, "categories": [{"id": n, "name": name} for n, name in enumerate(LABELS)]})
    scored = COCOeval_faster(truth, truth.loadRes(list(_coco_detections(found, LABELS))), iouType="bbox", print_function=lambda *_: None)
    scored.evaluate()
    scored.accumulate()
    scored.summarize()
    return float(scored.stats_as_dict["AP_50"])


@pytest.mark.parametrize("seed", range(25))
def test_equals_coco(seed: int) -> None:
    truths, found = scene(seed, 12)
    mine = float(map50(match(truths, found, LABELS), np.ones((1, 12)))[0])
    # COCO's 101 recalls are floats: where one is reached exactly, 0.28 < 0.28000000000000003 moves it by a rank there, not here.
    assert mine == pytest.approx(coco_map50(truths, found), abs=1e-3)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_a_weight_is_a_repetition(seed: int, times: list[int]) -> None:
    truths, found = scene(seed, 6)
    repeated = [number for number, count in enumerate(times) for _ in range(count)]
    weighted = average_precision(match(truths, found, LABELS), np.array([times], float))[0]
    if not repeated:
        assert np.isnan(weighted).all()
        return
    again = match([truths[n] for n in repeated], [found[n] for n in repeated], LABELS)
    plain = average_precision(again, np.ones((1, len(repeated))))[0]
    # Copies of a detection share one confidence: weighting ranks them as one, repetition one after the other.
    np.testing.assert_allclose(weighted, plain, atol=0.03)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.lists(st.booleans(), min_size=6, max_size=6))
def test_some_of_the_images_score_as_if_the_others_were_not_there(seed: int, chosen: list[bool]) -> None:
    truths, found = scene(seed, 6)
    some = match(truths, found, LABELS).of_images(np.array(chosen))
    kept = [number for number, there in enumerate(chosen) if there]
    alone = match([truths[n] for n in kept], [found[n] for n in kept], LABELS)
    assert (some.truths == alone.truths).all() and (some.image == alone.image).all() and (some.hit == alone.hit).all()


def test_a_perfect_model_scores_one_and_a_blind_one_zero() -> None:
    truths, _ = scene(1, 8)
    perfect = [[Detection(box.label, box.box, 0.9) for box in image] for image in truths]
    everything = np.ones((1, 8))
    assert map50(match(truths, perfect, LABELS), everything)[0] == pytest.approx(1)
    assert map50(match(truths, [[] for _ in truths], LABELS), everything)[0] == 0
    assert map50(match([[]], [[]], LABELS), np.ones((1, 1)))[0] == 0
