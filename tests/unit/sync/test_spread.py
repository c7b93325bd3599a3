"""Spread and novelty: a batch that covers the pool, and how far an image lies from what is labelled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.selection.novelty import FEWEST, novelty
from sync.selection.spread import spread


@given(st.integers(1, 30), st.integers(0, 40), st.integers(0, 2**40), st.floats(0, 1))
def test_every_row_is_there_once_and_the_same_call_gives_the_same_order(size: int, count: int, seed: int, weight: float) -> None:
    vectors = np.random.default_rng(seed).integers(0, 3, (size, 2)).astype(np.float32)
    weights = [weight] * size
    order = spread(vectors, count, weights, seed)
    assert sorted(order) == list(range(size))
    assert spread(vectors, count, weights, seed) == order


def test_the_first_ones_see_more_kinds_than_a_random_draw() -> None:
    rng = np.random.default_rng(7)
    kinds = np.repeat(np.arange(12), [200, 100, 40, 20, *[5] * 8])  # most captures look alike, as on a line
    vectors = (rng.normal(0, 10, (12, 8))[kinds] + rng.normal(0, 0.5, (len(kinds), 8))).astype(np.float32)
    chosen = [len({kinds[row] for row in spread(vectors, 12, [1.0] * len(kinds), seed)[:12]}) for seed in range(20)]
    random = [len(set(rng.choice(kinds, 12, replace=False))) for _ in range(20)]
    assert np.mean(chosen) >= 10.5
    assert np.mean(random) <= 7


def test_what_weighs_nothing_comes_last() -> None:
    vectors = np.random.default_rng(3).normal(0, 1, (20, 4)).astype(np.float32)
    order = spread(vectors, 10, [0.0] * 10 + [1.0] * 10, 5)
    assert set(order[:10]) == set(range(10, 20))


@given(st.integers(0, 2**32))
def test_what_is_like_the_labelled_is_near_and_what_is_not_is_far(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labelled, alike = rng.normal(0, 1, (200, 6)).astype(np.float32), rng.normal(0, 1, (200, 6)).astype(np.float32)
    found = novelty(np.concatenate([alike, alike + 30, labelled]), labelled)
    assert found is not None
    assert np.mean(found[:200] <= 1.05) > 0.85
    assert found[200:400].min() > 5
    assert found[400:].max() == pytest.approx(0, abs=1e-3)


@given(st.floats(0.01, 100), st.integers(0, 2**32))
def test_the_unit_of_the_vectors_does_not_matter(factor: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labelled, others = rng.normal(0, 1, (50, 4)).astype(np.float32), rng.normal(1, 2, (10, 4)).astype(np.float32)
    assert novelty(others * np.float32(factor), labelled * np.float32(factor)) == pytest.approx(novelty(others, labelled), rel=1e-3)


@pytest.mark.parametrize("landmarks", [np.zeros((0, 4)), np.random.default_rng(1).normal(size=(FEWEST - 1, 4)), np.ones((50, 4))])
def test_too_few_landmarks_or_all_the_same_say_nothing(landmarks: np.ndarray) -> None:
    assert novelty(np.ones((3, 4), np.float32), landmarks.astype(np.float32)) is None
