"""Two runtimes agree to a thousandth, or they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labelwheel.vision.letterbox import Tensor
from labelwheel.vision.model_info import ModelInfo
from retrain.model.agreement import Agreement, compare, together

PLAIN = ModelInfo(("a", "b", "c"), (640, 640), 32, end_to_end=False, rectangular=False)
SELECTED = replace(PLAIN, end_to_end=True)


def answer(anchors: int = 500, classes: int = 3) -> Tensor:
    random = np.random.default_rng(5)
    parts = [random.uniform(0, 640, (2, anchors)), random.uniform(5, 200, (2, anchors)), random.uniform(0, 1, (classes, anchors))]
    return np.concatenate(parts).astype(np.float32)


def test_an_answer_agrees_with_itself_and_with_its_own_rounding() -> None:
    one = answer()
    assert compare(one, one, PLAIN) == Agreement(1, 300, 1.0, 0.0)
    assert compare(one, one + np.float32(1e-4), PLAIN).good


@pytest.mark.parametrize("row", [4, 5, 6])
def test_one_other_confidence_at_one_place_is_seen(row: int) -> None:
    other = answer()
    other[row, 17] += 0.002
    found = compare(answer(), other, PLAIN)
    assert found.confidence == pytest.approx(0.002, abs=1e-5)
    assert not found.good


def test_one_moved_box_among_the_strongest_is_seen() -> None:
    other = answer()
    other[0, answer()[4:].max(axis=0).argmax()] += 5
    found = compare(answer(), other, PLAIN)
    assert found.iou < 0.99
    assert not found.good


def test_classes_in_another_order_do_not_agree() -> None:
    assert not compare(answer(), answer()[[0, 1, 2, 3, 5, 4, 6]], PLAIN).good


def test_rows_of_an_end_to_end_model_may_change_places() -> None:
    rows = np.array([[0, 0, 50, 50, 0.9, 0], [0, 0, 50, 51, 0.9, 0], [9, 9, 50, 50, 0.4, 1], [0, 0, 0, 0, 0, 0]], np.float32)
    assert compare(rows, rows[[1, 0, 2, 3]], SELECTED) == Agreement(1, 3, 1.0, 0.0)
    assert not compare(rows, np.where(np.arange(6) == 5, 1, rows).astype(np.float32), SELECTED).good
    assert not compare(rows, np.zeros_like(rows), SELECTED).good


def test_the_worst_image_counts_and_no_image_is_no_agreement() -> None:
    assert together([Agreement(1, 3, 1.0, 0.0), Agreement(1, 2, 0.5, 0.1)]) == Agreement(2, 5, 0.5, 0.1)
    assert not together([]).good
    assert not compare(answer(), answer(classes=2), PLAIN).good


def test_what_a_task_adds_is_compared_too() -> None:
    angles = np.random.default_rng(6).uniform(0, 1.5, (1, 500)).astype(np.float32)
    one, other = np.concatenate([answer(), angles]), np.concatenate([answer(), angles])
    assert compare(one, other, replace(PLAIN, task="obb")).good
    other[7, answer()[4:].max(axis=0).argmax()] += 0.02
    found = compare(one, other, replace(PLAIN, task="obb"))
    assert found.aside == pytest.approx(0.02, rel=0.6)
    assert not found.good
    row = np.array([[0, 0, 50, 50, 0.9, 0, 1.0]], np.float32)
    assert not compare(row, row + np.array([0, 0, 0, 0, 0, 0, 0.1], np.float32), replace(SELECTED, task="obb")).good


def test_shares_of_classes_are_compared_one_by_one() -> None:
    shares, info = np.array([0.7, 0.2, 0.1], np.float32), replace(PLAIN, task="classify")
    assert compare(shares, shares, info).good
    assert not compare(shares, shares[::-1], info).good
