from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

from console.demo.images import FIRST_SHIFT, LABELS, PAINTERS, SOURCES, VISIBLE, Frame, SyntheticPlant, darken
from console.demo.surfaces import HEIGHT, WIDTH


def pixels(frame: Frame) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, other = list(SyntheticPlant(7).stream(6)), list(SyntheticPlant(7).stream(6))
    assert one == other
    assert [frame.jpeg for frame in one] != [frame.jpeg for frame in SyntheticPlant(8).stream(6)]


def test_a_frame_does_not_depend_on_what_other_sources_did() -> None:
    mixed = [frame for frame in SyntheticPlant(7).stream(9) if frame.source == "line-b"]
    alone = list(SyntheticPlant(7).stream(3, ["line-b"]))
    assert [replace(frame, captured_at=FIRST_SHIFT) for frame in mixed] == [replace(frame, captured_at=FIRST_SHIFT) for frame in alone]


def test_the_clock_is_the_callers_and_leaves_the_pixels_alone() -> None:
    start, every = datetime(2027, 1, 1, tzinfo=UTC), timedelta(seconds=3)
    frames = list(SyntheticPlant(7, start, every).stream(3))
    assert [frame.captured_at for frame in frames] == [start, start + every, start + 2 * every]
    assert [frame.jpeg for frame in frames] == [frame.jpeg for frame in SyntheticPlant(7).stream(3)]


def test_boxes_lie_inside_and_bear_only_allowed_labels() -> None:
    for frame in SyntheticPlant(3).stream(60, labels=["dent", "crack"]):
        assert pixels(frame).shape == (HEIGHT, WIDTH, 3)
        assert len(frame.truth) <= 4
        for box in frame.truth:
            assert box.label in {"dent", "crack"}
            assert 0 <= box.x1 < box.x2 <= WIDTH
            assert 0 <= box.y1 < box.y2 <= HEIGHT


def test_every_source_shows_every_label_and_clean_frames() -> None:
    frames = list(SyntheticPlant(1).stream(120))
    assert {(frame.source, box.label) for frame in frames for box in frame.truth} == {
        (source, label) for source in SOURCES for label in LABELS
    }
    assert {frame.source for frame in frames if not frame.truth} == set(SOURCES)


@pytest.mark.parametrize("label", LABELS)
def test_the_box_is_as_large_as_what_the_painter_changed(label: str) -> None:
    for seed in range(20):
        before = np.full((HEIGHT, WIDTH, 3), 0.55, np.float32)
        after = before.copy()
        mask = PAINTERS[label](after, np.random.default_rng(seed), (128.0, 96.0))
        changed = (np.abs(after - before).max(axis=2) > 0.05).astype(np.uint8)
        box, seen = cv2.boundingRect((mask > VISIBLE).astype(np.uint8)), cv2.boundingRect(changed)
        edges = [(x, y, x + width, y + height) for x, y, width, height in (box, seen)]
        assert np.abs(np.subtract(*edges)).max() <= 6, (seed, edges)


def test_darkening_keeps_scene_and_truth_and_is_a_new_arrival() -> None:
    frame = SyntheticPlant(2).frame("line-a")
    dark = darken(frame, 0.5)
    assert dark.truth == frame.truth
    assert dark.external_id != frame.external_id
    assert pixels(dark).mean() == pytest.approx(pixels(frame).mean() * 0.5, rel=0.03)
    assert darken(frame, 0.5) == dark


@pytest.mark.parametrize(
    ("source", "labels", "message"), [("line-z", LABELS, "line-z"), ("line-a", ["rust"], "rust"), ("line-a", [], "No label")]
)
def test_unknown_names_are_refused(source: str, labels: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyntheticPlant(1).frame(source, labels)
