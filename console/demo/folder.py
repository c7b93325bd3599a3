"""Frames from a YOLO-format folder, for a demo on someone's own images.

    data_dir/classes.txt             one label a line
    data_dir/images/[source/]name    JPEG, PNG, BMP, TIFF or WebP
    data_dir/labels/[source/]name.txt   lines of `class cx cy width height`, shares of the image; empty: nothing is on it

The source is the sub-folder under `images/`, else the file name up to the first `_`.
An image without a label file has no known truth: `read` leaves it out, `unlabelled` lists it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path, PurePath
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np

from console.demo.images import Frame, Truth

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
# The first ones stay apart for colour-blind eyes.
COLOURS = ("#0072b2", "#d55e00", "#cc79a7", "#009e73", "#e69f00", "#56b4e9", "#7f3c8d", "#666666")
HOTKEYS = 9

LABEL_CONFIG = """\
<View>
  <!-- Edit the labels to fit your defects. The header may name any key of a task but `source`, which Label Studio shadows. -->
  <Header value="$external_id · asked because: $reason" style="font-size: 14px; font-weight: normal; margin: 0 0 8px"/>
  <Image name="image" value="$image" zoom="true" zoomControl="true" rotateControl="true"/>
  <RectangleLabels name="label" toName="image" strokeWidth="2">
{labels}
  </RectangleLabels>
</View>
"""

log = logging.getLogger(__name__)


def read(data_dir: Path) -> list[Frame]:
    """All labelled frames, oldest first (by the files' modification time, then name); ValueError says what is missing or wrong."""
    labels = classes(data_dir)
    without = len(unlabelled(data_dir))
    frames = [_frame(data_dir, path, labels) for path in _images(data_dir) if _label_file(data_dir, path).is_file()]
    if not frames:
        raise ValueError(f"No image in {data_dir / 'images'} has a label file in {data_dir / 'labels'}; name both alike (a.jpg, a.txt).")
    if without:
        log.warning("%d of %d images have no label file and are left out", without, without + len(frames))
    return sorted(frames, key=lambda frame: (frame.captured_at, frame.external_id))


def unlabelled(data_dir: Path) -> list[Path]:
    """Images without a label file, which `read` leaves out."""
    return [path for path in _images(data_dir) if not _label_file(data_dir, path).is_file()]


def classes(data_dir: Path) -> list[str]:
    """The labels in `classes.txt`, in the order of their numbers."""
    path = data_dir / "classes.txt"
    if not path.is_file():
        raise ValueError(f"There is no {path}; write one label a line, the first is class 0.")
    labels = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not labels or len(set(labels)) < len(labels):
        raise ValueError(f"{path} is empty or names a label twice; write each label once, one a line.")
    return labels


def label_config(labels: Sequence[str]) -> str:
    """The template `label_config.xml` with these labels."""
    hotkeys = [f' hotkey="{number}"' for number in range(1, HOTKEYS + 1)] + [""] * len(labels)
    lines = (
        f'    <Label value={quoteattr(label)} background="{colour}"{hotkey}/>'
        for label, colour, hotkey in zip(labels, cycle(COLOURS), hotkeys, strict=False)
    )
    return LABEL_CONFIG.replace("{labels}", "\n".join(lines))


def _images(data_dir: Path) -> list[Path]:
    folder = data_dir / "images"
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}; put the images there, in one sub-folder a source if you like.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"{folder} holds no image; {', '.join(sorted(SUFFIXES))} are read.")
    return paths


def _label_file(data_dir: Path, image: Path) -> Path:
    return (data_dir / "labels" / image.relative_to(data_dir / "images")).with_suffix(".txt")


def _frame(data_dir: Path, path: Path, labels: Sequence[str]) -> Frame:
    payload = path.read_bytes()
    truth = _truth(_label_file(data_dir, path), labels, _size(path, payload))
    captured_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    name = path.relative_to(data_dir / "images")
    return Frame(source_of(name), name.as_posix(), captured_at, payload, truth)


def source_of(name: PurePath) -> str:
    """The source of an image by its path below `images/`: the sub-folder, else the file name up to the first `_`."""
    return name.parts[0] if len(name.parts) > 1 else name.stem.split("_")[0]


def _size(path: Path, payload: bytes) -> tuple[int, int]:
    """Width and height of the upright image: OpenCV turns it as EXIF says."""
    picture = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise ValueError(f"{path} cannot be decoded; replace or remove it.")
    return picture.shape[1], picture.shape[0]


def _truth(path: Path, labels: Sequence[str], size: tuple[int, int]) -> tuple[Truth, ...]:
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    return tuple(_box(f"{path}:{number}", line.split(), labels, size) for number, line in lines if line.strip())


def _box(where: str, fields: Sequence[str], labels: Sequence[str], size: tuple[int, int]) -> Truth:
    try:
        number, (cx, cy, width, height) = int(fields[0]), (float(field) for field in fields[1:])
    except ValueError as error:
        raise ValueError(f"{where}: expected `class cx cy width height`, found {' '.join(fields)!r}.") from error
    if not 0 <= number < len(labels):
        raise ValueError(f"{where}: class {number} is not in classes.txt, which has {len(labels)} labels (0..{len(labels) - 1}).")
    if not (0 <= cx <= 1 and 0 <= cy <= 1 and 0 < width <= 1 and 0 < height <= 1):
        raise ValueError(f"{where}: centre and size are shares of the image, 0..1; divide pixels by its width and height.")
    return Truth(labels[number], *_corners(cx, cy, width, height, size))


def _corners(cx: float, cy: float, width: float, height: float, size: tuple[int, int]) -> tuple[float, float, float, float]:
    across, down = size
    left, top = max(0.0, cx - width / 2), max(0.0, cy - height / 2)
    right, bottom = min(1.0, cx + width / 2), min(1.0, cy + height / 2)
    return left * across, top * down, right * across, bottom * down
