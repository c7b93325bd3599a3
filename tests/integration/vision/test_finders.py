"""The models that the browser tests show find the bar where it was drawn: else those would prove nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelwheel.vision.detection import Detection
from labelwheel.vision.detector import Detector
from labelwheel.vision.geometry import enclosing
from labelwheel.vision.image import decode
from tests.fixtures.finders import BAR, CONFIDENCE, LABELS, POINTS, SHARES, scene, write_finder


@pytest.fixture(params=LABELS)
def found(request: pytest.FixtureRequest, tmp_path: Path) -> list[Detection]:
    write_finder(tmp_path / "finder.onnx", request.param)
    pixels = decode(scene(), max_bytes=2**20, max_pixels=2**20)
    return Detector(tmp_path / "finder.onnx", threads=1).detect(pixels).detections


def test_a_finder_of_each_task_finds_the_bar(found: list[Detection]) -> None:
    first = found[0]
    if first.whole:
        assert {item.label: item.confidence for item in found} == pytest.approx(SHARES, abs=0.01)
        return
    assert (len(found), first.label, first.confidence) == (1, "bar", pytest.approx(CONFIDENCE))
    assert first.box.as_tuple() == pytest.approx(enclosing(BAR.corners()).as_tuple(), abs=2)
    if first.rotated:
        assert first.rotated.as_tuple() == pytest.approx(BAR.as_tuple(), abs=1)
    if first.keypoints:
        left, right = BAR.corners()[[0, 3]].mean(0), BAR.corners()[[1, 2]].mean(0)
        assert tuple(point.name for point in first.keypoints) == POINTS
        assert np.array([[point.x, point.y] for point in first.keypoints]) == pytest.approx(np.stack([left, right]), abs=1)
    if first.polygon:
        assert enclosing(np.array(first.polygon)).as_tuple() == pytest.approx(enclosing(BAR.corners()).as_tuple(), abs=4)
