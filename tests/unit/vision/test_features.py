"""Features move the way their names say, and the descriptor tells images apart by what is in them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from labelwheel.vision.features import DESCRIPTOR_SIZE, descriptor, measure

SHAPES = [(1, 1), (1, 500), (500, 1), (7, 5), (480, 640), (2000, 3000)]


def scene(seed: int = 0, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """A grey ground with a few bright and dark rectangles; another seed places them elsewhere."""
    random, (height, width) = np.random.default_rng(seed), size
    image = np.full((height, width, 3), 120, np.uint8)
    for _ in range(6):
        x, y = int(random.integers(0, width * 3 // 4)), int(random.integers(0, height * 3 // 4))
        shade = int(random.choice([20, 230]))
        cv2.rectangle(image, (x, y), (x + width // 6, y + height // 6), (shade, shade, shade), -1)
    return image


def test_measures_of_a_known_image() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, 50:] = 200
    measured = measure(image)

    assert measured["brightness"] == 100
    assert measured["contrast"] == 100
    assert measured["edges"] == pytest.approx(0.01, abs=0.003)


def test_a_flat_image_has_brightness_only() -> None:
    assert measure(np.full((50, 60, 3), 77, np.uint8)) == {"brightness": 77, "contrast": 0, "sharpness": 0, "edges": 0}


def test_measures_move_the_way_their_names_say() -> None:
    image = scene()
    before, dimmed, blurred = measure(image), measure((image * 0.6).astype(np.uint8)), measure(cv2.GaussianBlur(image, (0, 0), 3))

    assert dimmed["brightness"] == pytest.approx(0.6 * before["brightness"], rel=0.02)
    assert dimmed["contrast"] < before["contrast"]
    assert blurred["sharpness"] < 0.1 * before["sharpness"]
    assert blurred["brightness"] == pytest.approx(before["brightness"], rel=0.02)


@pytest.mark.parametrize("size", SHAPES)
def test_every_size_is_measured(size: tuple[int, int]) -> None:
    image = np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)

    assert all(np.isfinite(value) for value in measure(image).values())
    assert descriptor(image).shape == (DESCRIPTOR_SIZE,) == (96,)
    assert descriptor(image).dtype == np.float32
    assert np.isfinite(descriptor(image)).all()


def test_the_parts_of_a_descriptor_have_at_most_length_one_and_a_blank_frame_is_near_zero() -> None:
    noise = np.random.default_rng(1).normal(120, 2, (240, 320, 3)).clip(0, 255).astype(np.uint8)
    content = descriptor(scene())

    assert 0.5 < np.linalg.norm(content[:64]) <= 1
    assert 0 < np.linalg.norm(content[64:]) <= 1
    assert not descriptor(np.full((40, 40, 3), 9, np.uint8)).any()
    assert np.linalg.norm(descriptor(noise)) < 0.5 * np.linalg.norm(content)


def test_another_arrangement_is_further_away_than_the_same_one_brighter_or_larger() -> None:
    image, other = scene(0), scene(5)
    away = np.linalg.norm(descriptor(image) - descriptor(other))

    for variant in (cv2.add(image, (15, 15, 15, 0)), cv2.resize(image, None, fx=2, fy=2)):
        assert np.linalg.norm(descriptor(image) - descriptor(variant)) < 0.3 * away
