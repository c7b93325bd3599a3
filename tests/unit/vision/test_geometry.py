"""Boxes and their conversions: every pair of inverses, and the facts that a sign error would break."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labelwheel.vision.geometry import (
    Box,
    box_to_percent,
    box_to_yolo,
    enclosing,
    iou_matrix,
    percent_to_corners,
    yolo_to_box,
)

sides = st.integers(1, 8000)
coordinates = st.floats(-500, 9000)
percents = st.floats(0, 100)
angles = st.floats(-720, 720)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x1, y1 = draw(coordinates), draw(coordinates)
    return Box(x1, y1, x1 + draw(st.floats(0.01, 5000)), y1 + draw(st.floats(0.01, 5000)))


def same(a: Box, b: Box) -> bool:
    return a.as_tuple() == pytest.approx(b.as_tuple(), abs=1e-6, rel=1e-9)


@given(boxes(), sides, sides)
def test_yolo_form_and_back(box: Box, width: int, height: int) -> None:
    assert same(yolo_to_box(*box_to_yolo(box, width, height), width, height), box)


@given(boxes(), sides, sides)
def test_percent_form_and_back(box: Box, width: int, height: int) -> None:
    percent = box_to_percent(box, width, height)
    assert same(enclosing(percent_to_corners(**percent, image_width=width, image_height=height)), box)


@given(percents, percents, percents, percents, angles, sides, sides)
def test_a_turn_keeps_sides_angles_and_the_named_corner(
    x: float, y: float, width: float, height: float, rotation: float, image_width: int, image_height: int
) -> None:
    corners = percent_to_corners(x, y, width, height, rotation, image_width, image_height)
    along, down = corners[1] - corners[0], corners[3] - corners[0]

    assert corners.shape == (4, 2)
    assert corners[0] == pytest.approx([x * image_width / 100, y * image_height / 100])
    assert np.hypot(*along) == pytest.approx(width * image_width / 100, abs=1e-6)
    assert np.hypot(*down) == pytest.approx(height * image_height / 100, abs=1e-6)
    assert along @ down == pytest.approx(0, abs=1e-3)
    assert corners[2] == pytest.approx(corners[1] + corners[3] - corners[0], abs=1e-6)


@given(percents, percents, percents, percents, angles, sides, sides)
def test_turning_back_gives_the_upright_rectangle(
    x: float, y: float, width: float, height: float, rotation: float, image_width: int, image_height: int
) -> None:
    turned = percent_to_corners(x, y, width, height, rotation, image_width, image_height)
    back = math.radians(-rotation)
    unturn = np.array([[math.cos(back), -math.sin(back)], [math.sin(back), math.cos(back)]])
    upright = (turned - turned[0]) @ unturn.T + turned[0]

    assert upright == pytest.approx(percent_to_corners(x, y, width, height, 0, image_width, image_height), abs=1e-5)


def test_rotation_is_clockwise_on_the_screen_and_worked_in_pixels() -> None:
    # 400 × 100 image: 10 % of its width is 40 px, 20 % of its height 20 px. Turned clockwise, it hangs to the left of its corner.
    corners = percent_to_corners(50, 10, 10, 20, 90, 400, 100)

    assert corners == pytest.approx(np.array([[200, 10], [200, 50], [180, 50], [180, 10]]))
    assert enclosing(corners).as_tuple() == pytest.approx((180, 10, 200, 50))


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.just(2)), elements=coordinates))
def test_enclosing_touches_the_outermost_points(points: np.ndarray) -> None:
    box = enclosing(points)
    assert box.as_tuple() == (points[:, 0].min(), points[:, 1].min(), points[:, 0].max(), points[:, 1].max())


@given(boxes(), sides, sides)
def test_clipping_stays_inside_and_is_idempotent(box: Box, width: int, height: int) -> None:
    clipped = box.clipped(width, height)

    assert 0 <= clipped.x1 <= clipped.x2 <= width
    assert 0 <= clipped.y1 <= clipped.y2 <= height
    assert clipped.clipped(width, height) == clipped
    assert clipped.area <= box.area * (1 + 1e-12)


@pytest.mark.parametrize(
    "box", [Box(1, 1, 1, 5), Box(5, 1, 2, 5), Box(0, 0, math.inf, 1), Box(math.nan, 0, 1, 1), Box(900, 900, 950, 950).clipped(640, 480)]
)
def test_boxes_without_a_finite_positive_area_are_not_valid(box: Box) -> None:
    assert not box.valid
    assert box.area == 0


def test_iou_of_known_boxes() -> None:
    a = [[0, 0, 10, 10], [0, 0, 0, 0]]
    b = [[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [20, 20, 10, 10]]
    assert iou_matrix(a, b) == pytest.approx(np.array([[1, 1 / 3, 0, 0], [0, 0, 0, 0]]))


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
def test_iou_of_nothing_is_empty(n: int, m: int) -> None:
    assert iou_matrix(np.zeros((n, 4)), np.zeros((m, 4))).shape == (n, m)


@given(st.lists(boxes(), min_size=1, max_size=5), st.lists(boxes(), min_size=1, max_size=5), st.floats(-300, 300))
def test_iou_is_symmetric_bounded_and_blind_to_place(some: list[Box], others: list[Box], shift: float) -> None:
    a, b = (np.array([box.as_tuple() for box in group]) for group in (some, others))
    iou = iou_matrix(a, b)

    assert ((iou >= 0) & (iou <= 1 + 1e-9)).all()
    assert iou == pytest.approx(iou_matrix(b, a).T)
    assume(all(min(box.width, box.height) > 1 for box in (*some, *others)))
    assert iou == pytest.approx(iou_matrix(a + shift, b + shift), abs=1e-6)
    assert np.diag(iou_matrix(a, a)) == pytest.approx(1)
