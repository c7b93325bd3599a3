"""Boxes as they are written on a command line."""

from __future__ import annotations

import pytest

from console.queue import read_box
from labelwheel.errors import InputError
from labelwheel.vision.geometry import Box


def test_a_box_is_a_label_and_four_edges() -> None:
    box = read_box("side: left:1,2.5,3,4e1")
    assert (box.label, box.box) == ("side: left", Box(1, 2.5, 3, 40))


@pytest.mark.parametrize("text", ["", "open", "open:1,2,3", "open:1,2,3,4,5", "open:a,2,3,4", "open 1,2,3,4"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_box(text)
