"""Let ultralytics work where only a CUDA build of torchvision meets a CPU build of torch.

There `import torchvision` dies because an operator's schema is missing. We declare the schema, import again and let
ultralytics' own pure-torch NMS stand in. With a matching pair of wheels this does nothing.
"""

from __future__ import annotations

import sys
from typing import Any

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept: list[Any] = []  # torch forgets a library's operators when its object goes


def ensure_torchvision() -> str:
    """Make torchvision importable. Returns `native`, or `torch-nms` where the stand-in serves. Call before importing ultralytics."""
    try:
        import torchvision
        import torchvision.ops

        if torchvision.extension._has_ops():
            return "native"
    except (RuntimeError, ImportError):  # an ImportError is raised again below if the package is really missing
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
    _declare()
    _stand_in()
    return "torch-nms"


def _declare() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    _kept.append(library)
    for schema in SCHEMAS:
        try:
            library.define(schema)
        except RuntimeError:  # declared already: the package got that far by itself
            continue


def _stand_in() -> None:
    import torchvision
    import torchvision.ops
    from ultralytics.utils.nms import TorchNMS

    torchvision.ops.nms = torchvision.ops.boxes.nms = TorchNMS.nms
