"""The frame that every region of Label Studio has, whoever drew it."""

from __future__ import annotations

from typing import Any

from labelwheel.vision.label_config import ControlTag

Region = dict[str, Any]


def framed(key: str, tag: ControlTag, label: str, place: dict[str, Any], width: int, height: int) -> Region:
    """A region of an upright image of so many pixels: `place` says where it lies in percent, `key` is its id."""
    return {
        "id": key,
        "type": tag.result_type,
        "from_name": tag.name,
        "to_name": tag.to_name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {**place, tag.result_type: [label]},
    }
