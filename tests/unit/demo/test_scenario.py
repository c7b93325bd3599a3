"""A folder played as a stream: which frames stand in which act, and when they say they were filmed."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from console.demo.scenario import CALM_FRAMES, COLD_FRAMES, FEWEST_FRAMES, STREAM_FRAMES, Acts, from_folder

SOURCES = {"left": 260, "right": 240, "top": 120}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled images of three sources; all files are of one moment but every third, which is a year older."""
    root = tmp_path_factory.mktemp("data")
    payload = cv2.imencode(".png", np.full((16, 16, 3), 200, np.uint8))[1].tobytes()
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    (root / "classes.txt").write_text("scratch\n")
    names = [f"{source}_{number:03d}" for source, count in SOURCES.items() for number in range(count)]
    for number, name in enumerate(names):
        image = root / "images" / f"{name}.png"
        image.write_bytes(payload)
        (root / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
        os.utime(image, (1e9, 1e9 if number % 3 else 9e8))
    return root


@pytest.fixture(scope="module", params=[1, 20261124])
def acts(data: Path, request: pytest.FixtureRequest) -> Acts:
    return from_folder(data, request.param, "top").acts


def test_every_frame_is_filmed_after_the_one_before(acts: Acts) -> None:
    assert all(one.captured_at < other.captured_at for one, other in pairwise(acts.frames))


def test_the_missing_source_comes_with_the_stream(acts: Acts) -> None:
    assert "top" not in {frame.source for frame in acts.cold}
    assert sum(frame.source == "top" for frame in acts.stream) == SOURCES["top"]


def test_the_acts_have_their_lengths_and_share_no_frame(acts: Acts) -> None:
    assert (len(acts.cold), len(acts.stream)) == (COLD_FRAMES, STREAM_FRAMES)
    assert 0 < len(acts.calm) <= CALM_FRAMES
    names = [frame.external_id for frame in acts.frames]
    assert len(set(names)) == len(names)


def test_one_known_source_loses_its_light(acts: Acts) -> None:
    assert {frame.source for frame in acts.dark} == {acts.dimmed_source}
    assert acts.dimmed_source != "top"


def test_a_folder_that_is_too_small_is_refused_with_the_number(data: Path, tmp_path: Path) -> None:
    for name in ("classes.txt", "labels"):
        (tmp_path / name).symlink_to(data / name)
    (tmp_path / "images").mkdir()
    for image in sorted((data / "images").iterdir())[:600]:
        (tmp_path / "images" / image.name).symlink_to(image)
    with pytest.raises(ValueError, match=str(FEWEST_FRAMES)):
        from_folder(tmp_path, 1, "top")
