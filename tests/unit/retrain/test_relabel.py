"""A foreign graph after the edit, run by ONNX Runtime: our labels in our order, whatever its classes were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from labelwheel.errors import ModelError
from labelwheel.vision.detector import Detector
from retrain.model.relabel import relabel
from tests.unit.vision.test_detector import METADATA, write_model

BLANK = np.zeros((64, 64, 3), np.uint8)
# Two boxes; columns are centre x, centre y, width, height, then one confidence a class: car, person, dog.
ANCHORS = np.array([[16, 16, 16, 16, 0.3, 0.1, 0.9], [48, 48, 16, 16, 0.2, 0.8, 0.4]], np.float32).T
NAMES = {"names": "{0: 'car', 1: 'person', 2: 'dog'}"}


def relabelled(folder: Path, groups: dict[str, list[int]], answer: np.ndarray = ANCHORS, **metadata: str) -> Detector:
    source = Detector(write_model(folder / "source.onnx", answer, {**METADATA, **NAMES, **metadata}))
    relabel(source.path, folder / "ours.onnx", groups, source.info)
    return Detector(folder / "ours.onnx")


def seen(detector: Detector) -> list[tuple[str, float, float]]:
    return [(found.label, round(found.confidence, 4), found.box.x1) for found in detector.detect(BLANK).detections]


def test_names_alone_change_no_node(tmp_path: Path) -> None:
    detector = relabelled(tmp_path, {"Auto": [0], "Mensch": [1], "Hund": [2]})
    assert seen(detector) == [("Hund", 0.9, 8), ("Mensch", 0.8, 40)]
    before, after = (onnx.load(tmp_path / name).graph for name in ("source.onnx", "ours.onnx"))
    assert before == after


def test_classes_come_in_our_order(tmp_path: Path) -> None:
    detector = relabelled(tmp_path, {"dog": [2], "car": [0], "person": [1]})
    assert detector.labels == ("dog", "car", "person")
    assert seen(detector) == [("dog", 0.9, 8), ("person", 0.8, 40)]


def test_an_ignored_class_hides_no_box_of_ours(tmp_path: Path) -> None:
    assert seen(relabelled(tmp_path, {"car": [0]})) == [("car", 0.3, 8), ("car", 0.2, 40)]


def test_of_classes_that_became_one_the_strongest_counts(tmp_path: Path) -> None:
    detector = relabelled(tmp_path, {"person": [1], "thing": [0, 2]})
    assert detector.labels == ("person", "thing")
    assert seen(detector) == [("thing", 0.9, 8), ("person", 0.8, 40)]


def test_the_embedding_stays(tmp_path: Path) -> None:
    assert relabelled(tmp_path, {"car": [0]}).detect(BLANK).embedding is not None


def test_an_end_to_end_model_is_looked_up(tmp_path: Path) -> None:
    rows = np.array([[8, 8, 24, 24, 0.9, 2], [40, 40, 56, 56, 0.8, 1], [0, 0, 9, 9, 0.5, 0]], np.float32)
    detector = relabelled(tmp_path, {"thing": [0, 2]}, rows, end2end="True")
    assert detector.labels == ("thing",)
    assert seen(detector) == [("thing", 0.9, 8), ("thing", 0.5, 0)]


def test_what_a_task_adds_stays_behind_the_classes(tmp_path: Path) -> None:
    angles = np.array([[0.1, 0.2]], np.float32)
    detector = relabelled(tmp_path, {"dog": [2], "thing": [0, 1]}, np.concatenate([ANCHORS, angles]), task="obb")
    answer = detector.raw(np.zeros((1, 3, 64, 64), np.float32))
    np.testing.assert_array_equal(answer, np.concatenate([ANCHORS[[0, 1, 2, 3, 6]], ANCHORS[4:6].max(0, keepdims=True), angles]))


def test_what_a_task_adds_stays_in_its_row_of_a_table(tmp_path: Path) -> None:
    rows = np.array([[16, 16, 16, 16, 0.9, 2, 0.5], [40, 40, 16, 16, 0.8, 1, 0.7]], np.float32)
    answer = relabelled(tmp_path, {"dog": [2]}, rows, task="obb", end2end="True").raw(np.zeros((1, 3, 64, 64), np.float32))
    np.testing.assert_array_equal(answer[0], [16, 16, 16, 16, np.float32(0.9), 0, 0.5])
    assert (answer[1, 4], answer[1, 6]) == (0, np.float32(0.7))


def test_shares_of_classes_that_became_one_add_up(tmp_path: Path) -> None:
    detector = relabelled(tmp_path, {"bad": [0, 2], "good": [1]}, np.array([0.2, 0.5, 0.3], np.float32), task="classify")
    assert [(one.label, round(one.confidence, 5)) for one in detector.detect(BLANK).detections] == [("bad", 0.5), ("good", 0.5)]


@given(st.permutations([0, 1, 2]), st.integers(1, 3))
def test_any_choice_and_order_of_classes_keeps_their_confidences(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], count: int
) -> None:
    folder = tmp_path_factory.mktemp("model")
    chosen = order[:count]
    detector = relabelled(folder, {f"class {class_id}": [class_id] for class_id in chosen})
    answer = detector.raw(np.zeros((1, 3, 64, 64), np.float32))
    np.testing.assert_array_equal(answer, ANCHORS[[0, 1, 2, 3, *(4 + class_id for class_id in chosen)]])


def test_a_pickle_in_disguise_and_weights_elsewhere_are_refused(tmp_path: Path) -> None:
    info = Detector(write_model(tmp_path / "source.onnx", ANCHORS, {**METADATA, **NAMES})).info
    (tmp_path / "pickle.onnx").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ModelError, match=r"pickle\.onnx"):
        relabel(tmp_path / "pickle.onnx", tmp_path / "out.onnx", {"car": [0]}, info)
    model = onnx.load(tmp_path / "source.onnx")
    tensor = model.graph.initializer.add(name="elsewhere", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secrets.env")
    (tmp_path / "spread.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="other files"):
        relabel(tmp_path / "spread.onnx", tmp_path / "out.onnx", {"car": [0]}, info)
