"""Let an imported ONNX file speak our labels: an edit at the end of its graph, so that all that serves or scores it needs to know nothing.

Classes come in the order of our class map; several foreign classes may become one label; ignored ones are not reported at all,
and cannot hide a box of ours by a higher score. What a task adds to the boxes (angles, masks' weights, points) stays behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelwheel.errors import ModelError
from labelwheel.vision.model_info import ModelInfo
from labelwheel.vision.network import EMBEDDING

OUTPUT = "labelwheel_detections"
Edit = tuple[list[Any], list[Any]]  # nodes, and the constants that they need


def relabel(source: Path, target: Path, groups: Mapping[str, Sequence[int]], info: ModelInfo) -> None:
    """Write `source` as `target` with our labels; `groups` holds for each label the ids of the model's classes. Raises ModelError."""
    import onnx

    try:
        model = onnx.load(source, load_external_data=False)
    except Exception as error:  # protobuf's errors share no base but Exception
        raise ModelError(f"The model {source.name} cannot be read: {error}", "Export it again.") from error
    _refuse_external(model, source)
    if [list(ids) for ids in groups.values()] != [[class_id] for class_id in range(len(info.labels))]:
        _append(model.graph, list(groups.values()), info)
    written = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**written, "names": str(dict(enumerate(groups)))})
    onnx.checker.check_model(model)
    onnx.save(model, target)


def _refuse_external(model: Any, source: Path) -> None:
    from onnx import TensorProto

    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ModelError(f"The model {source.name} keeps its weights in other files.", "Export it as one file.")


def _append(graph: Any, ids: Sequence[Sequence[int]], info: ModelInfo) -> None:
    """Put nodes after the output with the boxes, which takes a new name and keeps its place."""
    from onnx import TensorProto, helper

    place = next(place for place, output in enumerate(graph.output) if output.name != EMBEDDING)
    name = graph.output[place].name
    nodes, constants = _edit(name, ids, info)
    graph.initializer.extend(constants)
    graph.node.extend(nodes)
    shape = [1, None] if info.task == "classify" else [1, None, None]
    graph.output[place].CopyFrom(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape))


def _edit(name: str, ids: Sequence[Sequence[int]], info: ModelInfo) -> Edit:
    classes = len(info.labels)
    if info.task == "classify":
        return _by_shares(name, ids, classes)
    return _by_table(name, ids, classes) if info.end_to_end else _by_rows(name, ids, classes)


def _by_shares(name: str, ids: Sequence[Sequence[int]], classes: int) -> Edit:
    """(1, classes): the classes exclude each other, so the shares of those that became one label add up."""
    from onnx import helper

    sums = np.zeros((classes, len(ids)), np.float32)
    for number, members in enumerate(ids):
        sums[list(members), number] = 1
    constant = _constant(f"{OUTPUT}_sums", sums)
    return [helper.make_node("MatMul", [name, constant.name], [OUTPUT])], [constant]


def _by_rows(name: str, ids: Sequence[Sequence[int]], classes: int) -> Edit:
    """(1, 4 + classes + more, anchors): pick the rows of each label; where several classes make one, the strongest counts."""
    from onnx import helper

    depth = max(len(members) for members in ids)
    picks = [[0, 1, 2, 3, *(4 + members[min(layer, len(members) - 1)] for members in ids)] for layer in range(depth)]
    constants = [_constant(f"{OUTPUT}_rows_{layer}", np.array(rows, np.int64)) for layer, rows in enumerate(picks)]
    layers = [f"{OUTPUT}_layer_{layer}" for layer in range(depth)]
    nodes = [helper.make_node("Gather", [name, rows.name], [layer], axis=1) for rows, layer in zip(constants, layers, strict=True)]
    nodes.append(helper.make_node("Max", layers, [f"{OUTPUT}_boxes"]))
    return _with_rest(name, 4 + classes, 1, nodes, constants, [f"{OUTPUT}_boxes"])


def _by_table(name: str, ids: Sequence[Sequence[int]], classes: int) -> Edit:
    """(1, N, 6 + more) of a model that selects by itself: look the class up; an ignored one loses its confidence."""
    from onnx import TensorProto, helper

    table, kept = np.zeros(classes, np.float32), np.zeros(classes, np.float32)
    for number, members in enumerate(ids):
        table[list(members)], kept[list(members)] = number, 1
    columns = {"box": [0, 1, 2, 3], "confidence": [4], "class": [5]}
    given = {**{key: np.array(value, np.int64) for key, value in columns.items()}, "table": table, "kept": kept}
    constants = [_constant(f"{OUTPUT}_{key}", value) for key, value in given.items()]
    at = {key: f"{OUTPUT}_{key}" for key in given}
    nodes = [helper.make_node("Gather", [name, at[key]], [f"{at[key]}_of"], axis=2) for key in columns]
    nodes += [
        helper.make_node("Cast", [f"{at['class']}_of"], [f"{at['class']}_id"], to=TensorProto.INT64),
        helper.make_node("Gather", [at["table"], f"{at['class']}_id"], [f"{at['table']}_of"]),
        helper.make_node("Gather", [at["kept"], f"{at['class']}_id"], [f"{at['kept']}_of"]),
        helper.make_node("Mul", [f"{at['confidence']}_of", f"{at['kept']}_of"], [f"{at['confidence']}_kept"]),
    ]
    return _with_rest(name, 6, 2, nodes, constants, [f"{at['box']}_of", f"{at['confidence']}_kept", f"{at['table']}_of"])


def _with_rest(name: str, start: int, axis: int, nodes: list[Any], constants: list[Any], parts: Sequence[str]) -> Edit:
    """Put the parts together again, and behind them what stood along `axis` from `start` on: nothing, where the task adds nothing."""
    from onnx import helper

    bounds = {"start": [start], "end": [np.iinfo(np.int64).max], "axis": [axis]}
    given = [_constant(f"{OUTPUT}_rest_{key}", np.array(value, np.int64)) for key, value in bounds.items()]
    cut = helper.make_node("Slice", [name, *(constant.name for constant in given)], [f"{OUTPUT}_rest"])
    whole = helper.make_node("Concat", [*parts, f"{OUTPUT}_rest"], [OUTPUT], axis=axis)
    return [*nodes, cut, whole], [*constants, *given]


def _constant(name: str, value: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(value, name)
