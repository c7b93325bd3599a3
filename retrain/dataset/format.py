"""What an export can be written as. Numbers in label files are shares of the upright image.

| format    | a line of a label file                                                                   |
| yolo      | class cx cy width height: the box around whatever was drawn                              |
| yolo-obb  | class x1 y1 …: the four corners; where the frame cuts them, all corners of what is left  |
| yolo-seg  | class x1 y1 …: the outline                                                               |
| yolo-pose | class cx cy width height, then x y v for each point of the skeleton (v 2: drawn, 0: not) |
| yolo-cls  | none: the folder that an image lies in is its class                                      |
| coco      | as yolo, beside COCO's JSON                                                              |
"""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """The name of a format."""

    yolo = "yolo"
    obb = "yolo-obb"
    seg = "yolo-seg"
    pose = "yolo-pose"
    cls = "yolo-cls"
    coco = "coco"
