"""Outlines: what was painted is its pixels, parts and holes hang together, what is cut stays in the frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from label_studio_sdk.converter.brush import mask2rle

from labelwheel.vision import brush, outline
from tests.fixtures.read_back import inside

MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
SPOTS = st.tuples(st.floats(-50, 150), st.floats(-50, 150))


@given(MASKS)
def test_a_mask_comes_back_from_its_outlines_and_from_all_of_them_joined(mask: np.ndarray) -> None:
    parts = brush.outlines(mask)
    assert sum(map(outline.area, parts)) == mask.sum()
    assert bool(parts) == mask.any()
    odd = np.zeros_like(mask)
    for part in parts:
        odd ^= inside(np.array(part), mask.shape)
    assert (odd == mask).all()
    if parts:
        whole = outline.joined(parts)
        assert (inside(np.array(whole), mask.shape) == mask).all()
        assert outline.area(whole) == mask.sum()


@given(MASKS)
def test_what_the_sdk_codes_is_decoded(mask: np.ndarray) -> None:
    height, width = mask.shape
    code = mask2rle(mask.astype(np.uint8) * 255)
    assert (brush.painted(code, width, height) == mask).all()
    with pytest.raises(ValueError, match="of another size"):
        brush.painted(code, width + 1, height)
    with pytest.raises(ValueError, match="broken"):
        brush.painted(code[:7], width, height)


@given(st.lists(SPOTS, min_size=3, max_size=9))
def test_what_is_cut_stays_in_the_frame_and_what_is_inside_stays_as_it_is(spots: list[tuple[float, float]]) -> None:
    cut = outline.clipped(tuple(spots), 100, 80)
    assert all(0 <= x <= 100 and 0 <= y <= 80 for x, y in cut)
    assert abs(outline.area(cut)) <= 100 * 80 * len(spots)
    if all(0 <= x <= 100 and 0 <= y <= 80 for x, y in spots):
        assert cut == tuple(spots)
    if cut:
        again = outline.clipped(cut, 100, 80)
        assert again == cut


@given(st.floats(0, 100), st.floats(0, 100), st.floats(1, 50), st.floats(1, 50), st.floats(-360, 360))
def test_the_rectangle_around_an_ellipse_touches_it(cx: float, cy: float, rx: float, ry: float, angle: float) -> None:
    corners = np.array(outline.around_ellipse(cx, cy, rx, ry, angle))
    assert corners.mean(axis=0) == pytest.approx((cx, cy), abs=1e-9)
    middles = (corners + np.roll(corners, -1, axis=0)) / 2
    points = np.array(outline.ellipse(cx, cy, rx, ry, angle))
    for middle in middles:
        assert np.linalg.norm(points - middle, axis=1).min() < 1e-6
    assert outline.area(tuple(map(tuple, points))) == pytest.approx(np.pi * rx * ry, rel=5e-4)
