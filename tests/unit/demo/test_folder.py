from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest

from console.demo.folder import classes, label_config, read, unlabelled
from console.demo.images import LABELS, Truth

ROOT = Path(__file__).parents[3]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "classes.txt").write_text("open\nshort\n")
    add(tmp_path, "east_1", "1 0.5 0.5 0.2 0.4\n\n0 0.05 0.5 0.2 0.2\n")
    add(tmp_path, "cam3/7", "")
    add(tmp_path, "west_9", None)
    return tmp_path


def add(data: Path, name: str, lines: str | None, size: tuple[int, int] = (100, 50)) -> None:
    image, label = data / "images" / f"{name}.png", data / "labels" / f"{name}.txt"
    for path in (image, label):
        path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.zeros((size[1], size[0], 3), np.uint8))
    if lines is not None:
        label.write_text(lines)


def test_sources_boxes_and_ids(data: Path) -> None:
    frames = {frame.external_id: frame for frame in read(data)}
    assert set(frames) == {"east_1.png", "cam3/7.png"}
    east = frames["east_1.png"]
    assert (east.source, frames["cam3/7.png"].source) == ("east", "cam3")
    assert frames["cam3/7.png"].truth == ()
    assert east.truth[0] == Truth("short", *(pytest.approx(edge) for edge in (40, 15, 60, 35)))
    assert east.truth[1] == Truth("open", *(pytest.approx(edge) for edge in (0, 20, 15, 30)))
    assert east.jpeg == (data / "images/east_1.png").read_bytes()


def test_images_without_a_label_file_are_left_out_and_counted(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(data)
    assert [path.name for path in unlabelled(data)] == ["west_9.png"]
    assert "1 of 3 images" in caplog.text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("0 0.5 0.5 0.2", r"east_1\.txt:1: expected `class cx cy width height`"),
        ("0 0.5 0.5 0.2 0.2\n2 0.5 0.5 0.2 0.2", r"east_1\.txt:2: class 2 is not in classes\.txt"),
        ("0 50 25 20 20", "divide pixels"),
        ("open 0.5 0.5 0.2 0.2", "expected"),
    ],
)
def test_a_bad_label_line_is_named(data: Path, lines: str, message: str) -> None:
    add(data, "east_1", lines)
    with pytest.raises(ValueError, match=message):
        read(data)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"classes\.txt; write one label a line"):
        read(tmp_path)
    (tmp_path / "classes.txt").write_text("open\n")
    with pytest.raises(ValueError, match=r"no folder .*images"):
        read(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match="holds no image"):
        read(tmp_path)
    add(tmp_path, "a_1", None)
    with pytest.raises(ValueError, match="name both alike"):
        read(tmp_path)


def test_a_broken_image_is_named(data: Path) -> None:
    (data / "images/east_1.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"east_1\.png cannot be decoded"):
        read(data)


def test_labels_must_be_distinct(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("open\nopen\n")
    with pytest.raises(ValueError, match="twice"):
        classes(tmp_path)


def test_the_shipped_label_config_is_the_template_with_the_plants_labels() -> None:
    assert label_config(LABELS) == (ROOT / "label_config.xml").read_text()


def test_any_label_survives_the_template() -> None:
    labels = ['a "b" & <c>', "d", *(f"l{number}" for number in range(12))]
    tree = ET.fromstring(label_config(labels))
    assert [node.get("value") for node in tree.iter("Label")] == labels
