"""Cutting an image into parts: each box lies where its part is, and none is shown that is hardly there."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.simulate.stock import VISIBLE, Cut, Stock, photo_as_dict, photo_from_dict, take_stock, within
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box

WIDTH, HEIGHT = 120.0, 90.0


@st.composite
def boxes(draw: st.DrawFn) -> LabelledBox:
    x1, y1 = draw(st.floats(0, WIDTH - 2)), draw(st.floats(0, HEIGHT - 2))
    return LabelledBox("crack", Box(x1, y1, x1 + draw(st.floats(1, WIDTH - x1)), y1 + draw(st.floats(1, HEIGHT - y1))))


def frames(count: int) -> list[Box]:
    across, down = ([side * number / count for number in range(count + 1)] for side in (WIDTH, HEIGHT))
    return [Box(x1, y1, x2, y2) for y1, y2 in pairwise(down) for x1, x2 in pairwise(across)]


@given(boxes(), st.integers(1, 4))
def test_a_box_is_shown_by_the_parts_that_hold_enough_of_it_and_moved_back_it_lies_in_itself(box: LabelledBox, count: int) -> None:
    for frame in frames(count):
        for shown in within([box], frame):
            inside = shown.box
            assert inside.valid and inside.x2 <= frame.width and inside.y2 <= frame.height
            assert inside.area >= VISIBLE * box.box.area
            assert inside.x1 + frame.x1 >= box.box.x1 - 1e-9 and inside.x2 + frame.x1 <= box.box.x2 + 1e-9
            assert inside.y1 + frame.y1 >= box.box.y1 - 1e-9 and inside.y2 + frame.y1 <= box.box.y2 + 1e-9


@given(boxes())
def test_an_image_in_one_part_keeps_its_boxes(box: LabelledBox) -> None:
    assert within([box], Box(0, 0, WIDTH, HEIGHT)) == (box,)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of two lines; one is a copy, one is damaged, one has no label file."""
    root = tmp_path / "boards"
    for name in ("images/line-b", "labels/line-b"):
        (root / name).mkdir(parents=True)
    (root / "classes.txt").write_text("crack\ndent\n")
    picture = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (80, 160, 3), np.uint8))[1].tobytes()
    for name in ("images/line-a_1.png", "images/line-b/copy.png", "images/line-a_3.png"):
        (root / name).write_bytes(picture)
    (root / "images/line-b/damaged.png").write_bytes(picture[:500])
    for name in ("labels/line-a_1.txt", "labels/line-b/copy.txt", "labels/line-b/damaged.txt"):
        (root / name).write_text("1 0.25 0.5 0.1 0.2\n")
    return root


def test_bad_images_are_named_and_left_out(folder: Path, tmp_path: Path) -> None:
    stock = _stock(folder, tmp_path / "store", Cut(80))
    (photo,) = stock.photos
    assert (photo.source, photo.width, photo.height) == ("line-a", 80, 40)
    assert [box.label for box in photo.boxes] == ["dent"]
    assert photo.boxes[0].box.as_tuple() == pytest.approx((16, 16, 24, 24))
    assert stock.labels == ("crack", "dent")
    faults = " ".join(stock.faults)
    assert all(word in faults for word in ("line-a_3.png: no label", "copy.png: the same image", "damaged.png: The image is damaged"))


@pytest.mark.parametrize(
    ("manifest", "source"),
    [
        ({"items": [{"file": "images/line-a_1.png", "source": "line-9"}, {"file": None, "source": "x"}, {"file": "a"}]}, "line-9"),
        ({"items": {"of": "another program"}}, "line-a"),
        ([], "line-a"),
    ],
)
def test_an_exports_manifest_says_the_sources_and_any_other_nothing(folder: Path, tmp_path: Path, manifest: object, source: str) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (photo,) = _stock(folder, tmp_path / "store", Cut(80)).photos
    assert photo.source == source


def test_parts_are_photographs_of_their_own_of_one_original(folder: Path, tmp_path: Path) -> None:
    stock = _stock(folder, tmp_path / "store", Cut(80, 2))
    assert len(stock.photos) == 4
    assert len({photo.original for photo in stock.photos}) == 1
    assert [len(photo.boxes) for photo in stock.photos] == [1, 0, 1, 0]  # the box lies across the first and the third
    for photo in stock.photos:
        assert photo_from_dict(photo_as_dict(photo)) == photo
        assert (tmp_path / "store" / photo.uri).is_file()


def _stock(folder: Path, store: Path, cut: Cut) -> Stock:
    *names, stock = take_stock(folder, ImageStore(store), cut, Settings())
    assert len(names) == 4 and isinstance(stock, Stock)
    return stock
