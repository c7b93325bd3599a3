"""The detector on hand-made ONNX graphs: real files, run by ONNX Runtime, whose right answer is known by construction."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from labelwheel.errors import ModelError
from labelwheel.vision.detector import Detector
from labelwheel.vision.geometry import Box, iou_matrix
from labelwheel.vision.letterbox import prepare
from labelwheel.vision.model_info import ModelInfo, read_info
from labelwheel.vision.select import select

NAMES = {0: "car", 1: "person"}
METADATA = {"names": str(NAMES), "imgsz": "[64, 64]", "stride": "32", "task": "detect", "end2end": "False"}
# Columns: centre x, centre y, width, height in the 64 × 64 input, then one confidence a class.
ANCHORS = np.array(
    [
        [32, 32, 32, 16, 0.9, 0.1],
        [33, 32, 32, 16, 0.8, 0.1],  # the first one again: suppressed
        [32, 32, 32, 16, 0.1, 0.7],  # the same place, another class: kept
        [10, 40, 8, 8, 0.06, 0.0],
        [50, 20, 8, 8, 0.0, 0.05],  # not above the floor
    ],
    np.float32,
).T


def write_model(path: Path, prediction: np.ndarray = ANCHORS, metadata: dict[str, str] = METADATA, *, embedding: bool = True) -> Path:
    """A model that answers `prediction` whatever it sees; its embedding is the mean of each input channel."""
    shape = [1, *prediction.shape]
    nodes = [helper.make_node("Constant", [], ["output0"], value=numpy_helper.from_array(prediction[None], "boxes"))]
    outputs = [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)]
    if embedding:
        nodes.append(helper.make_node("ReduceMean", ["images"], ["embedding"], axes=[2, 3], keepdims=0))
        outputs.insert(0, helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 3]))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])
    model = helper.make_model(
        helper.make_graph(nodes, "fixed", [images], outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.fixture
def detector(tmp_path: Path) -> Detector:
    return Detector(write_model(tmp_path / "model.onnx"), threads=1)


def test_boxes_are_in_pixels_of_the_image(detector: Detector) -> None:
    # 128 × 64 is halved to 64 × 32 and padded by 16 above and below.
    found = detector.detect(np.zeros((64, 128, 3), np.uint8)).detections

    assert [(detection.label, round(detection.confidence, 4)) for detection in found] == [("car", 0.9), ("person", 0.7), ("car", 0.06)]
    assert found[0].box.as_tuple() == pytest.approx((32, 16, 96, 48))
    assert found[2].box.as_tuple() == pytest.approx((12, 40, 28, 56))


def test_boxes_are_clipped_and_what_lies_in_the_padding_is_dropped(tmp_path: Path) -> None:
    anchors = np.array([[32, 16, 80, 8, 0.9, 0], [32, 4, 8, 4, 0.8, 0]], np.float32).T
    found = Detector(write_model(tmp_path / "m.onnx", anchors)).detect(np.zeros((64, 128, 3), np.uint8)).detections

    assert [detection.box for detection in found] == [Box(0, 0, 128, 8)]


def test_the_network_sees_rgb_shares_and_grey_padding(detector: Detector) -> None:
    image = np.full((64, 128, 3), (0, 51, 255), np.uint8)  # blue, green, red
    embedding = detector.detect(image).embedding

    assert embedding is not None
    assert embedding.dtype == np.float32
    assert embedding == pytest.approx((np.array([255, 51, 0]) + 114) / 2 / 255, abs=1e-5)


def test_the_embedding_is_optional(tmp_path: Path) -> None:
    assert Detector(write_model(tmp_path / "m.onnx", embedding=False)).detect(np.zeros((9, 9, 3), np.uint8)).embedding is None


def test_nothing_found_is_an_empty_list(tmp_path: Path) -> None:
    empty = Detector(write_model(tmp_path / "m.onnx", np.zeros((6, 7), np.float32)))
    assert empty.detect(np.zeros((64, 64, 3), np.uint8)).detections == []


def test_the_floor_is_a_setting(tmp_path: Path) -> None:
    found = Detector(write_model(tmp_path / "m.onnx"), floor=0.75).detect(np.zeros((64, 64, 3), np.uint8)).detections
    assert [detection.confidence for detection in found] == pytest.approx([0.9])


def test_end_to_end_models_have_selected_already(tmp_path: Path) -> None:
    rows = np.array([[0, 0, 32, 32, 0.6, 1], [0, 0, 32, 32, 0.9, 0], [0, 0, 32, 31, 0.9, 0], [0, 0, 0, 0, 0, 0]], np.float32)
    path = write_model(tmp_path / "m.onnx", rows, {**METADATA, "end2end": "True"})
    found = Detector(path).detect(np.zeros((64, 64, 3), np.uint8)).detections

    assert [(detection.label, detection.box.y2) for detection in found] == [("car", 32), ("car", 31), ("person", 32)]


def test_many_threads_get_the_answers_of_one(detector: Detector) -> None:
    images = [np.full((40 + n, 70, 3), n * 8, np.uint8) for n in range(24)]
    alone = [detector.detect(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(detector.detect, images))

    for one, other in zip(alone, together, strict=True):
        assert one.detections == other.detections
        np.testing.assert_array_equal(one.embedding, other.embedding)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "names"),
        ({**METADATA, "names": "__import__('os')"}, "names"),
        ({**METADATA, "names": "{1: 'car', 2: 'person'}"}, "not numbered from 0"),
        ({**METADATA, "names": "{0: 'car', 1: 'car'}"}, "repeated"),
        ({**METADATA, "names": "{0: 'car'}"}, "unfit for detect with its 1 classes"),
        ({**METADATA, "imgsz": "'large'"}, "image size"),
        ({**METADATA, "task": "segment"}, "unfit for segment"),
        ({**METADATA, "task": "classify"}, "unfit for classify"),
        ({**METADATA, "task": "pose"}, "kpt_shape"),
        ({**METADATA, "task": "pose", "kpt_shape": "[17, 4]"}, "skeleton"),
        ({**METADATA, "task": "depth"}, "served are detect, obb"),
    ],
)
def test_a_model_that_does_not_say_what_it_is_is_refused(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        Detector(write_model(tmp_path / "m.onnx", metadata=metadata))
    assert caught.value.cure


def test_missing_and_broken_files_are_refused(tmp_path: Path) -> None:
    whole = write_model(tmp_path / "whole.onnx").read_bytes()
    for name, data in {"empty": b"", "text": b"not a model", "half": whole[: len(whole) // 2]}.items():
        (tmp_path / name).write_bytes(data)
    for name in ("missing", "empty", "text", "half"):
        with pytest.raises(ModelError, match=name):
            Detector(tmp_path / name)


def test_rectangular_input_only_where_the_graph_is_free() -> None:
    free, fixed = (read_info({**METADATA, "imgsz": "[640, 640]"}, shape) for shape in ([1, 3, "height", "width"], [1, 3, 640, 640]))
    image = np.zeros((480, 1000, 3), np.uint8)

    assert prepare(image, fixed)[0].shape == (1, 3, 640, 640)
    assert prepare(image, free)[0].shape == (1, 3, 320, 640)


def test_the_graphs_own_size_wins_over_the_written_one() -> None:
    assert read_info({**METADATA, "imgsz": "640"}, [1, 3, 320, 320]).size == (320, 320)
    assert read_info({**METADATA, "imgsz": "640"}, ["batch", 3, "height", "width"]).size == (640, 640)


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000), (63, 65), (64, 64), (37, 1001)])
@pytest.mark.parametrize("rectangular", [True, False])
def test_a_letterbox_and_back_is_the_identity(size: tuple[int, int], rectangular: bool) -> None:
    height, width = size
    info = ModelInfo(("car",), (96, 64), 32, end_to_end=False, rectangular=rectangular)
    tensor, frame = prepare(np.zeros((height, width, 3), np.uint8), info)
    inside = np.argwhere(tensor[0, 0] == 0)
    (top, left), (bottom, right) = inside.min(axis=0), inside.max(axis=0) + 1

    assert frame.to_image(np.array([[left, top], [right, bottom]], np.float32)).ravel() == pytest.approx([0, 0, width, height], rel=1e-5)
    assert all(side % 32 == 0 for side in tensor.shape[2:])


def test_selection_keeps_no_two_boxes_of_one_class_that_overlap_and_loses_no_lone_one() -> None:
    random = np.random.default_rng(7)
    anchors = np.concatenate([random.uniform(0, 640, (2, 900)), random.uniform(5, 200, (2, 900)), random.uniform(0, 1, (3, 900))])
    found = select(anchors.astype(np.float32), 0.05, ModelInfo(("a", "b", "c"), (640, 640), 32, end_to_end=False, rectangular=False))
    overlaps = (
        iou_matrix(found.boxes, found.boxes) * (found.classes[:, None] == found.classes[None]) * ~np.eye(len(found.boxes), dtype=bool)
    )

    assert len(found.boxes) == 300
    assert (np.diff(found.confidences) <= 0).all()
    assert overlaps.max() <= 0.7 + 1e-6


def test_loading_and_detecting_need_no_torch(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx")
    code = (
        "import sys, pathlib, numpy as np\n"
        "from labelwheel.vision.detector import Detector\n"
        f"Detector(pathlib.Path({str(path)!r})).detect(np.zeros((9, 9, 3), np.uint8))\n"
        "heavy = {'torch', 'ultralytics', 'pandas', 'sklearn', 'matplotlib', 'mlflow', 'sqlalchemy', 'requests', 'flask'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
