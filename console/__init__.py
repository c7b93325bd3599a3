"""What people use: the `labelwheel` command, the REST API, the pages, and `VisionLogger` for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from console.vision_logger import VisionLogger

__all__ = ["VisionLogger"]


def __getattr__(name: str) -> Any:
    """Loaded when it is asked for: the command must start without it."""
    if name == "VisionLogger":
        from console.vision_logger import VisionLogger

        return VisionLogger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
