"""Answers before anything is written: boxes that fit, regions that lead back to them, and keys that tell answers apart."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.vision_logger import VisionLogger
from labelwheel.database.tables import QUEUE_STATUSES, QueueItem
from labelwheel.errors import InputError
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.drawn import from_regions, to_drawn
from labelwheel.vision.geometry import Box
from labelwheel.vision.label_config import parse
from sync.review.fit import fitted
from sync.review.recognise import key_of
from sync.review.said import EXPECTED, Said
from sync.review.turn import Turn, newest
from tests.fixtures.label_studio import LABEL_CONFIG

TAGS = parse(LABEL_CONFIG)
sides = st.integers(1, 9000)


@st.composite
def drawings(draw: st.DrawFn) -> tuple[list[LabelledBox], int, int]:
    """Boxes inside an image, and its width and height."""
    width, height = draw(sides), draw(sides)

    def edges(side: int) -> st.SearchStrategy[tuple[float, float]]:
        pair = st.tuples(st.floats(0, side), st.floats(0, side)).map(lambda two: (min(two), max(two)))
        return pair.filter(lambda two: two[1] - two[0] > side * 1e-6)

    boxes = draw(st.lists(st.tuples(st.sampled_from(["open", "short"]), edges(width), edges(height)), max_size=6))
    return [LabelledBox(label, Box(x[0], y[0], x[1], y[1])) for label, x, y in boxes], width, height


@given(drawings())
def test_what_is_submitted_is_what_is_read_back(drawing: tuple[list[LabelledBox], int, int]) -> None:
    boxes, width, height = drawing
    back, left_out = from_regions(to_drawn(boxes, TAGS, width, height, "r"), TAGS, width, height)
    assert not left_out
    assert [(box.label, box.region_id, box.origin) for box in back] == [(box.label, f"r{n}", "manual") for n, box in enumerate(boxes)]
    for one, other in zip(boxes, back, strict=True):
        assert other.box.as_tuple() == pytest.approx(one.box.as_tuple(), abs=1e-6 * max(width, height))


@given(drawings(), st.floats(-0.9, 0.9))  # of an image of one pixel something must be left
def test_a_box_that_fits_stays_and_a_pixel_beyond_is_clipped(drawing: tuple[list[LabelledBox], int, int], off: float) -> None:
    boxes, width, height = drawing
    assert [fitted(box, width, height) for box in boxes] == boxes
    moved = LabelledBox("open", Box(off, off, width + off, height + off))
    assert fitted(moved, width, height).box == moved.box.clipped(width, height)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((0, 0, 102, 50), "100 × 50"), ((-2, 0, 50, 50), "100 × 50"), ((0, 0, float("nan"), 9), "100 × 50"), ((200, 0, 300, 9), "100 × 50"),
        ((10, 10, 10, 20), "no area"), ((20, 0, 10, 10), "no area"), ((0, 40, 10, 30), "no area"),
    ],
)  # fmt: skip
def test_a_box_of_other_units_or_without_area_is_refused(box: tuple[float, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        fitted(LabelledBox("open", Box(*box)), 100, 50)


@pytest.mark.parametrize("entry", [("open", (1, 2)), ("open", (1, 2, 3, "x")), "open", ("open", (1, 2, 3, 4), 5), None])
def test_what_is_no_box_is_refused_in_words(entry: Any) -> None:
    with pytest.raises(InputError, match="is no box") as refusal:
        VisionLogger().submit_label(1, [entry], annotator="anna")
    assert refusal.value.cure


def turn(**task: Any) -> Turn:
    return Turn(QueueItem(id=1), "key-r1", {"id": 7, "created_at": "2026-11-27T08:00:00Z", **task}, {})


def test_a_key_is_the_same_for_the_same_answer_and_no_other() -> None:
    boxes = [["open", 1.0, 2.0, 3.0, 4.0], ["short", 1.0, 2.0, 3.0, 4.0]]
    key = key_of("label", turn(), "anna", boxes)
    assert key == key_of("label", turn(), "anna", boxes[::-1]), "the order of boxes says nothing"
    uuid.UUID(key.unique_id)
    others = [
        key_of("skip", turn(), "anna", boxes),
        key_of("label", turn(), "bob", boxes),
        key_of("label", turn(), "anna", boxes[:1]),
        key_of("label", turn(created_at="2026-11-27T09:00:00Z"), "anna", boxes),
        key_of("label", turn(id=8), "anna", boxes),
        key_of("label", turn(annotations=[{"id": 1, "created_at": "a", "updated_at": "b"}]), "anna", boxes),
    ]
    assert len({key.unique_id, *(other.unique_id for other in others)}) == 7
    assert len({key.import_id, *(other.import_id for other in others)}) == 7


@given(st.text(max_size=20))
def test_the_key_fits_into_label_studio_and_javascript(who: str) -> None:
    assert 0 < key_of("label", turn(), who, []).import_id < 2**52


@pytest.mark.parametrize(
    ("who", "why"), [("", ""), ("  ", ""), ("a\nb", ""), ("a\x00", ""), ("a" * 201, ""), ("a", "b" * 501), ("a", "\t")]
)
def test_names_and_reasons_that_cannot_be_stored_are_refused(who: str, why: str) -> None:
    with pytest.raises(InputError):
        Said(who, why)


def test_the_newest_label_is_the_last_that_is_no_skip() -> None:
    made = [
        {"id": 1, "updated_at": "2026-11-27T08:00:02Z", "was_cancelled": False},
        {"id": 2, "updated_at": "2026-11-27T08:00:01Z", "was_cancelled": False},
        {"id": 3, "updated_at": "2026-11-27T08:00:03Z", "was_cancelled": True},
    ]
    assert newest(made) == made[0]
    assert newest(made[2:]) is None and newest([]) is None


def test_what_an_act_expects_are_statuses() -> None:
    assert {status for expected in EXPECTED.values() for status in expected} == set(QUEUE_STATUSES) - {"expired"}
