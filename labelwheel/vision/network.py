"""An ONNX file that runs: ONNX Runtime on the CPU in f32. Torch is not needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from labelwheel.errors import ModelError
from labelwheel.vision.letterbox import Tensor
from labelwheel.vision.model_info import EXPORT_AGAIN

EMBEDDING = "embedding"


class Outputs(NamedTuple):
    """Of one image: the prediction, mask prototypes (segment only) and the embedding (D,) where the file has that output."""

    prediction: Tensor
    protos: Tensor | None
    embedding: Tensor | None


class Network:
    """One loaded file; may be run from many threads at once. Raises ModelError for a file that cannot be loaded.

    It is loaded a second time, for one thread, when first asked to leave the other cores alone: ONNX Runtime fixes the number at loading.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self._path, self._threads = path, threads
        self._wide = _load(path, threads)
        self._narrow: Any = self._wide if threads == 1 else None
        self._lock = threading.Lock()
        self._input = self._wide.get_inputs()[0]
        self._names = _output_names(self._wide)

    @property
    def metadata(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self._wide.get_modelmeta().custom_metadata_map
        return found

    @property
    def shape(self) -> list[int | str | None]:
        """The input's (N, 3, H, W), with text where it is free."""
        return list(self._input.shape)

    def run(self, tensor: Tensor, *, alone: bool = True) -> Outputs:
        """Run one image (1, 3, H, W), on all of its threads or, unless `alone`, on one."""
        session = self._wide if alone else self._one_thread()
        found = dict(zip(self._names, session.run(self._names, {self._input.name: tensor}), strict=True))
        embedding = found.pop(EMBEDDING, None)
        prediction, *protos = found.values()
        return Outputs(
            np.asarray(prediction[0], np.float32),
            protos[0][0] if protos else None,
            None if embedding is None else np.asarray(embedding[0], np.float32).ravel(),
        )

    def _one_thread(self) -> Any:
        with self._lock:
            if self._narrow is None:
                self._narrow = _load(self._path, 1)
            return self._narrow


def _load(path: Path, threads: int) -> Any:
    if not path.is_file():
        raise ModelError(f"There is no model file {path}.", "Deploy a model, or restore the file from the registry.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Idle threads that spin would take the cores from training and from Label Studio, which share them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base but Exception
        raise ModelError(f"The model {path} cannot be loaded: {error}", EXPORT_AGAIN) from error


def _output_names(session: Any) -> list[str]:
    """The prediction first, then the prototypes of masks and the embedding, where there are such."""
    names = [output.name for output in session.get_outputs()]
    predictions = [name for name in names if name != EMBEDDING]
    if not predictions:
        raise ModelError("The model has no output with predictions.", EXPORT_AGAIN)
    return predictions[:2] + [name for name in names if name == EMBEDDING]
